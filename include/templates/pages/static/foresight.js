// While a month is being worked out: ask how far it is, and show it when it is ready. Without scripts a link does.
(() => {
  const EVERY_MS = 700;
  const waiting = document.querySelector("[data-awaited]");
  const busy = document.querySelector("[data-retry]");
  if (busy) {
    // What was sent by a form is not sent again.
    const place = location.pathname === busy.dataset.place ? location.href : busy.dataset.place;
    setTimeout(() => location.replace(place), Number(busy.dataset.retry) * 1000);
    return;
  }
  if (!waiting) {
    // Whoever comes back, or reloads, is shown the month as it is by then.
    const place = new URL(location.href);
    if (place.searchParams.has("of")) {
      place.searchParams.delete("of");
      history.replaceState(null, "", place);
    }
    return;
  }
  const { awaited, period } = waiting.dataset;
  const bar = waiting.querySelector("[data-progress]");
  const show = () => {
    const place = new URL(location.href);
    place.searchParams.set("of", awaited);
    location.replace(place);
  };
  const ask = async () => {
    try {
      const answer = await window.invoicing.ask(`/api/v1/foresight/${period}/progress?of=${encodeURIComponent(awaited)}`);
      if (answer.status === 401 || answer.status === 403) return;
      if (answer.ok) {
        const { done, stage } = await answer.json();
        if (done) {
          show();
          return;
        }
        bar.value = stage;
      }
    } catch {
      // The server is away for a moment; the next question may find it.
    }
    setTimeout(ask, EVERY_MS);
  };
  setTimeout(ask, EVERY_MS);
})();
