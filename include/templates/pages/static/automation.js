// The subject line: insert variables, and see at once whether it works and how it reads.
(() => {
  const line = document.getElementById("subject");
  const result = document.getElementById("subject-result");
  const template = document.getElementById("template");
  if (!line || !result) return;

  const show = (kind, title, rows) => {
    const list = document.createElement("dl");
    list.className = `preview__list preview__list--${kind}`;
    for (const [name, text] of rows) {
      const row = document.createElement("div");
      const head = document.createElement("dt");
      const body = document.createElement("dd");
      head.textContent = name;
      body.textContent = text;
      row.append(head, body);
      list.append(row);
    }
    const heading = document.createElement("p");
    heading.className = "preview__title";
    heading.textContent = title;
    result.replaceChildren(heading, ...(rows.length ? [list] : []));
  };

  const spanish = document.documentElement.lang === "es";
  let waiting;
  let asking;
  const check = async () => {
    asking?.abort();
    if (!line.value.trim()) {
      result.replaceChildren();
      return;
    }
    asking = new AbortController();
    try {
      const answer = await window.invoicing.ask(
        "/api/v1/settings/subject-check",
        { subject: line.value, template: template.value },
        { signal: asking.signal },
      );
      if (!answer.ok) throw new Error(answer.statusText);
      const report = await answer.json();
      const wrong = report.problems.length > 0;
      if (wrong) show("wrong", result.dataset.wrong, report.problems.map((each) => ["", spanish ? each.message_es : each.message]));
      else show("fine", result.dataset.preview, Object.entries(report.previews).map(([code, text]) => [code.toUpperCase(), text]));
    } catch (error) {
      if (error.name !== "AbortError") show("quiet", result.dataset.unavailable, []);
    }
  };
  const soon = () => {
    clearTimeout(waiting);
    show("quiet", result.dataset.checking, []);
    waiting = setTimeout(check, 450);
  };
  line.addEventListener("input", soon);
  line.addEventListener("keydown", (event) => {
    if (event.key === "Enter") event.preventDefault();
  });
  template.addEventListener("change", soon);
  check();

  for (const button of document.querySelectorAll("[data-insert]")) {
    button.addEventListener("click", () => {
      line.focus();
      line.setRangeText(button.dataset.insert, line.selectionStart, line.selectionEnd, "end");
      soon();
    });
  }
})();
