// While a run goes on: ask for its few figures, show them, say them now and then; when it is over, show the whole again.
(() => {
  const overview = document.querySelector("[data-overview]");
  if (!overview || overview.dataset.running !== "yes") return;
  const period = overview.dataset.period;
  const announce = document.querySelector("[data-announce]");
  const format = new Intl.NumberFormat(document.documentElement.lang === "en" ? "en-US" : "es-CO");
  const EVERY_MS = 2000;
  const SAY_EVERY_MS = 15000;
  let said = 0;
  let { shape } = overview.dataset;

  const refresh = async () => {
    const answer = await fetch(`${window.invoicing.root}/cycles/${period}/overview`, { credentials: "same-origin" });
    if (!answer.ok) return;
    const parsed = new DOMParser().parseFromString(await answer.text(), "text/html");
    overview.replaceChildren(...parsed.body.childNodes);
  };
  const show = (figures) => {
    const due = figures.sent + figures.waiting + figures.failed + figures.in_doubt;
    for (const place of overview.querySelectorAll("[data-live]")) {
      const value = place.dataset.live === "due" ? due : figures[place.dataset.live];
      if (value !== undefined) place.textContent = format.format(value);
    }
    const bar = overview.querySelector("[data-progress]");
    if (bar) {
      bar.max = due || 1;
      bar.value = figures.sent;
    }
    if (Date.now() - said > SAY_EVERY_MS) {
      said = Date.now();
      announce.textContent = overview.dataset.said.replace("{sent}", format.format(figures.sent)).replace("{due}", format.format(due));
    }
  };
  const ask = async () => {
    if (document.hidden) {
      document.addEventListener("visibilitychange", ask, { once: true });
      return;
    }
    try {
      const answer = await window.invoicing.ask(`/api/v1/cycles/${period}/progress`);
      if (answer.status === 401 || answer.status === 403) return;
      if (answer.ok) {
        const figures = await answer.json();
        if (!figures.running) {
          await refresh();
          overview.dataset.running = "no";
          announce.textContent = overview.dataset.over;
          // The head and the table of tenants tell of the run too.
          location.reload();
          return;
        }
        // Decisions are made, or something failed: more than figures changes.
        const now = [figures.tenants, figures.to_send, figures.failed, figures.in_doubt].join();
        if (shape !== now) await refresh();
        shape = now;
        show(figures);
      }
    } catch {
      // The server is away for a moment; the next question may find it.
    }
    setTimeout(ask, EVERY_MS);
  };
  setTimeout(ask, EVERY_MS);
})();
