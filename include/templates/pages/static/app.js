// Small conveniences; every page works without them.
(() => {
  const root = document.documentElement;

  // Airflow shows us in a sandboxed frame that may not navigate the window around it, and opening Airflow's page
  // inside would nest it in itself. The frame shares Airflow's origin: ask its router to go there.
  const framed = () => {
    try {
      return parent !== window && parent.document !== null;
    } catch {
      return false;
    }
  };
  document.addEventListener("click", (event) => {
    const link = event.target.closest?.("a[data-airflow-link]");
    if (!link || !framed() || event.button !== 0 || event.metaKey || event.ctrlKey || event.shiftKey) return;
    event.preventDefault();
    if ("airflowReload" in link.dataset) {
      parent.location.reload();
      return;
    }
    const place = new URL(link.href);
    parent.history.pushState(null, "", place.pathname + place.search + place.hash);
    parent.dispatchEvent(new PopStateEvent("popstate", { state: null }));
  });

  // After an error the summary is read first.
  document.querySelector("[data-focus]")?.focus();

  // A form that was changed warns before it is left; one that is sent is not sent twice.
  for (const form of document.querySelectorAll("form[method=post]")) {
    form.addEventListener("submit", (event) => {
      // What is shown in a frame leaves the form as it is.
      if (event.submitter?.formTarget && event.submitter.formTarget !== "_self") return;
      if (form.dataset.sent) event.preventDefault();
      form.dataset.sent = "yes";
      for (const button of form.querySelectorAll("button[type=submit]")) button.setAttribute("aria-disabled", "true");
    });
  }
  addEventListener("pageshow", () => {
    for (const form of document.querySelectorAll("form[data-sent]")) {
      delete form.dataset.sent;
      for (const button of form.querySelectorAll("button[aria-disabled]")) button.removeAttribute("aria-disabled");
    }
  });

  // For the pages' own scripts: a request to our JSON API with the form token. Where all places are taken it is made
  // again when the answer says, unless what was typed in the meantime has made it void.
  const patience = 3;
  window.invoicing = {
    root: root.dataset.root,
    ask: async (path, body, options = {}, tries = patience) => {
      const answer = await fetch(root.dataset.root + path, {
        method: body === undefined ? "GET" : "POST",
        credentials: "same-origin",
        headers: {
          Accept: "application/json",
          "X-CSRF-Token": document.querySelector("meta[name=csrf-token]").content,
          ...(body === undefined ? {} : { "Content-Type": "application/json" }),
        },
        body: body === undefined ? undefined : JSON.stringify(body),
        ...options,
      });
      if (answer.status !== 429 || tries <= 1) return answer;
      await new Promise((resolve) => setTimeout(resolve, 1000 * Number(answer.headers.get("Retry-After") ?? 1)));
      return window.invoicing.ask(path, body, options, tries - 1);
    },
  };
})();
