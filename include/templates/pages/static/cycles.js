// While a run goes on: ask for its few figures; where they changed, put the figures and the rows of the table in place
// anew, together; say now and then how far it is. When it is over, show the whole again.
(() => {
  const overview = document.querySelector("[data-overview]");
  if (!overview || overview.dataset.running !== "yes") return;
  const { period } = overview.dataset;
  const announce = document.querySelector("[data-announce]");
  const EVERY_MS = 2000;
  const REFRESH_EVERY_MS = 4000;
  const SAY_EVERY_MS = 15000;
  let said = 0;
  let refreshed = 0;
  let shown = "";

  // A part in which somebody types, or has opened a form, is left as it is.
  const isInUse = (part) =>
    [...part.querySelectorAll("input, textarea")].some((field) => field === document.activeElement) ||
    part.querySelector("details.mend[open], details.act[open]") !== null;
  // What was opened stays open; the focus stays on the same link.
  const replace = (part, fresh) => {
    const open = [...part.querySelectorAll("details[open] > summary")].map((each) => each.textContent);
    const focused = part.contains(document.activeElement) ? document.activeElement.getAttribute("href") : null;
    part.replaceChildren(...document.adoptNode(fresh).childNodes);
    for (const summary of part.querySelectorAll("details > summary")) {
      if (open.includes(summary.textContent)) summary.parentElement.open = true;
    }
    if (focused) part.querySelector(`a[href="${CSS.escape(focused)}"]`)?.focus({ preventScroll: true });
  };
  const refresh = async () => {
    const answer = await fetch(`${window.invoicing.root}/cycles/${period}/overview${location.search}`, { credentials: "same-origin" });
    if (!answer.ok) return false;
    const parsed = new DOMParser().parseFromString(await answer.text(), "text/html");
    for (const fresh of parsed.querySelectorAll("[data-part]")) {
      const part = document.querySelector(`[data-part="${fresh.dataset.part}"]`);
      if (part && !isInUse(part)) replace(part, fresh);
    }
    return true;
  };
  const say = () => {
    const words = overview.querySelector("[data-say]")?.textContent;
    if (words && Date.now() - said > SAY_EVERY_MS) {
      said = Date.now();
      announce.textContent = words;
    }
  };
  const end = () => {
    announce.textContent = overview.dataset.over;
    overview.dataset.running = "no";
    // The head tells of the run too. What somebody is typing is not thrown away.
    if (!isInUse(overview)) location.reload();
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
          end();
          return;
        }
        const now = JSON.stringify(figures);
        if (now !== shown && Date.now() - refreshed >= REFRESH_EVERY_MS && (await refresh())) {
          shown = now;
          refreshed = Date.now();
          say();
        }
      }
    } catch {
      // The server is away for a moment; the next question may find it.
    }
    setTimeout(ask, EVERY_MS);
  };
  setTimeout(ask, EVERY_MS);
})();
