// The template editor: one part at a time, line numbers, problems beside the text, and a preview that follows it.
(() => {
  const form = document.getElementById("editor");
  if (!form) return;
  const mayChange = form.method === "post";
  const tabs = [...form.querySelectorAll("[role=tab]")];
  const panels = [...form.querySelectorAll("[data-panel]")];
  const views = [...form.querySelectorAll("[data-view].chip")];
  const sentences = [...form.querySelectorAll("[data-sentence]")];
  const code = document.getElementById("code");
  const here = form.getAttribute("action");
  const holder = form.querySelector("[data-frame]");
  const status = form.querySelector("[data-status]");
  const textOf = (panel) => panel.querySelector("textarea");

  // Parts as tabs (WAI-ARIA: arrows move, Home and End too).
  form.classList.add("editor--tabbed");
  form.querySelector("[role=tablist]").hidden = false;
  for (const panel of panels) {
    panel.setAttribute("role", "tabpanel");
    panel.setAttribute("aria-labelledby", `tab-${panel.dataset.panel}`);
  }
  let shown = panels[0];
  const open = (field, focus) => {
    for (const panel of panels) panel.hidden = panel.dataset.panel !== field;
    shown = panels.find((panel) => panel.dataset.panel === field);
    for (const tab of tabs) {
      const chosen = tab.id === `tab-${field}`;
      tab.setAttribute("aria-selected", String(chosen));
      tab.tabIndex = chosen ? 0 : -1;
      if (chosen && focus) tab.focus();
      if (chosen && code.open && tab.dataset.view !== view) choose(tab.dataset.view);
    }
    for (const section of form.querySelectorAll("[data-variables-of]")) {
      section.hidden = !field.startsWith(section.dataset.variablesOf);
    }
    number(shown);
  };
  for (const [index, tab] of tabs.entries()) {
    tab.addEventListener("click", () => open(tab.id.slice(4), false));
    tab.addEventListener("keydown", (event) => {
      const last = tabs.length - 1;
      const to = { ArrowRight: index === last ? 0 : index + 1, ArrowLeft: index === 0 ? last : index - 1, Home: 0, End: last }[event.key];
      if (to === undefined) return;
      event.preventDefault();
      open(tabs[to].id.slice(4), true);
    });
  }

  // Line numbers; those with a problem stand out.
  const wrong = {};
  const number = (panel) => {
    const area = textOf(panel);
    const gutter = panel.querySelector(".code__lines");
    const count = area.value.split("\n").length;
    const marked = wrong[panel.dataset.panel] ?? new Set();
    const key = `${count}:${[...marked]}`;
    if (gutter.dataset.key !== key) {
      gutter.dataset.key = key;
      const lines = document.createDocumentFragment();
      let run = "";
      for (let line = 1; line <= count; line += 1) {
        if (marked.has(line)) {
          lines.append(run);
          run = "\n";
          const mark = document.createElement("b");
          mark.textContent = line;
          lines.append(mark);
        } else run += `${line}\n`;
      }
      lines.append(run, "\n\n");
      gutter.replaceChildren(lines);
    }
    gutter.scrollTop = area.scrollTop;
  };
  const goTo = (field, line) => {
    code.open = true;
    open(field, false);
    const area = textOf(shown);
    area.focus();
    if (!line) return;
    const lines = area.value.split("\n");
    const start = lines.slice(0, line - 1).reduce((sum, each) => sum + each.length + 1, 0);
    area.setSelectionRange(start, start + (lines[line - 1] ?? "").length);
    area.scrollTop = Math.max(0, (line - 6) * parseFloat(getComputedStyle(area).lineHeight));
    area.scrollLeft = 0;
    number(shown);
  };
  document.addEventListener("click", (event) => {
    const link = event.target.closest?.("[data-part]");
    if (!link) return;
    event.preventDefault();
    goTo(link.dataset.part, Number(link.dataset.line ?? 0));
  });

  // The preview: the form's own text, shown in a frame that is made anew, so that it leaves no trace in the history.
  let view = "mail";
  // One at a time, the latest next: a person has few places on the server, and the last answer is the one that stays.
  let isUnderway = false;
  let isWanted = false;
  const showPreview = () => {
    isWanted = isUnderway;
    if (isUnderway) return;
    isUnderway = true;
    const frame = holder.querySelector("iframe");
    const fresh = frame.cloneNode(false);
    fresh.removeAttribute("src");
    fresh.removeAttribute("data-stale");
    holder.classList.add("editor__frame--busy");
    frame.replaceWith(fresh);
    // From here on: the empty frame has loaded at once.
    fresh.addEventListener("load", () => {
      holder.classList.remove("editor__frame--busy");
      isUnderway = false;
      if (isWanted) showPreview();
    });
    const before = [form.getAttribute("action"), form.getAttribute("target")];
    // The page may be the answer to a test or to a refused save: its own address says nothing.
    form.setAttribute("action", `${here}/preview?view=${view}`);
    form.setAttribute("target", "preview");
    const hidden = mayChange ? null : document.createElement("input");
    if (hidden) {
      // A form of method get has no query of its own, and a reader's text is the saved one.
      Object.assign(hidden, { type: "hidden", name: "view", value: view });
      form.append(hidden);
      for (const panel of panels) textOf(panel).disabled = true;
    }
    HTMLFormElement.prototype.submit.call(form);
    hidden?.remove();
    for (const panel of panels) textOf(panel).disabled = false;
    form.setAttribute("action", before[0]);
    if (before[1] === null) form.removeAttribute("target");
  };
  const choose = (chosen) => {
    view = chosen;
    for (const button of views) button.setAttribute("aria-pressed", String(button.dataset.view === view));
    showPreview();
  };
  for (const button of views) {
    button.addEventListener("click", (event) => {
      event.preventDefault();
      choose(button.dataset.view);
    });
  }
  // A download ends no page: the form must be ready for the next button.
  form.querySelector("[data-download]").addEventListener("click", () => {
    if (!mayChange) for (const panel of panels) textOf(panel).disabled = true;
    setTimeout(() => {
      delete form.dataset.sent;
      for (const panel of panels) textOf(panel).disabled = false;
      for (const button of form.querySelectorAll("button[aria-disabled]")) button.removeAttribute("aria-disabled");
    }, 600);
  });

  const say = (text) => {
    if (status && status.textContent !== text) status.textContent = text;
  };
  const showProblems = (problems) => {
    let anyFaulty = false;
    for (const panel of panels) {
      const field = panel.dataset.panel;
      const ours = problems.filter((problem) => problem.part === panel.dataset.file);
      wrong[field] = new Set(ours.filter((problem) => problem.line && !problem.is_warning).map((problem) => problem.line));
      const faulty = ours.some((problem) => !problem.is_warning);
      document.querySelector(`#tab-${field} .editor__mark`).hidden = !faulty;
      anyFaulty ||= faulty;
      if (faulty) textOf(panel).setAttribute("aria-invalid", "true");
      else textOf(panel).removeAttribute("aria-invalid");
      panel.querySelector("[data-problems]").replaceChildren(
        ...ours.map((problem) => {
          const item = document.createElement("li");
          item.className = `problems__item${problem.is_warning ? " problems__item--warning" : ""}`;
          const link = document.createElement("a");
          link.href = `#${field}`;
          link.dataset.part = field;
          if (problem.line) link.dataset.line = problem.line;
          link.textContent = problem.line ? `${form.dataset.lineWord} ${problem.line}` : panel.dataset.file;
          item.append(link, ` ${problem.is_warning ? `${form.dataset.warningWord}: ` : ""}${problem.message}`);
          return item;
        }),
      );
      number(panel);
    }
    form.querySelector("[data-code-mark]").hidden = !anyFaulty;
    for (const place of form.querySelectorAll("[data-field-error]")) {
      const field = place.dataset.fieldError;
      if (field === "logo") continue; // tried when it is saved
      const ours = problems.filter((problem) => problem.part.replace(".", "_") === field);
      place.hidden = ours.length === 0;
      place.querySelector("span").textContent = ours.map((problem) => problem.message).join(". ");
      if (ours.length) form.elements[field].setAttribute("aria-invalid", "true");
      else form.elements[field].removeAttribute("aria-invalid");
    }
  };
  // What stands beside the code, as the JSON API has it.
  const typedFields = () => {
    const fields = {};
    for (const area of sentences) {
      const [name, language] = area.dataset.sentence.split(".");
      (fields[name] ??= {})[language] = area.value;
    }
    if (form.elements.colour) fields.colour = form.elements.colour.value;
    return fields;
  };
  let asking;
  const check = async () => {
    asking?.abort();
    asking = new AbortController();
    say(form.dataset.checking);
    try {
      const parts = Object.fromEntries(panels.map((panel) => [panel.dataset.file, textOf(panel).value]));
      const answer = await window.invoicing.ask(form.dataset.check, { parts, fields: typedFields(), language: document.documentElement.lang }, { signal: asking.signal });
      if (!answer.ok) throw new Error(answer.statusText);
      const { problems } = await answer.json();
      showProblems(problems);
      const faults = problems.filter((problem) => !problem.is_warning).length;
      say(faults ? `${faults} ×` : form.dataset.fine);
      return faults === 0;
    } catch (error) {
      if (error.name !== "AbortError") say(form.dataset.unavailable);
      return false;
    }
  };

  let waiting;
  const soon = () => {
    clearTimeout(waiting);
    waiting = setTimeout(async () => {
      if (await check()) showPreview();
    }, 900);
  };
  for (const panel of panels) {
    const area = textOf(panel);
    area.addEventListener("scroll", () => {
      panel.querySelector(".code__lines").scrollTop = area.scrollTop;
    });
    if (!mayChange) continue;
    area.addEventListener("input", () => {
      number(panel);
      soon();
    });
  }
  let lastSentence = sentences[0];
  const showFor = (area) => {
    // Who types a sentence looks for it: in its language, in what it is printed in.
    form.elements.language.value = area.lang;
    const its = area.closest("[data-view]").dataset.view;
    // Plain text shows the same sentences.
    if (its !== view && !(its === "mail" && view === "text")) choose(its);
  };
  for (const area of sentences) {
    if (!mayChange) continue;
    area.addEventListener("focus", () => {
      lastSentence = area;
    });
    area.addEventListener("input", () => {
      showFor(area);
      soon();
    });
  }
  for (const button of form.querySelectorAll("[data-put]")) {
    button.addEventListener("click", () => {
      lastSentence.focus();
      lastSentence.setRangeText(button.dataset.put, lastSentence.selectionStart, lastSentence.selectionEnd, "end");
      showFor(lastSentence);
      soon();
    });
  }
  // A file takes a form of many parts, which nothing else needs.
  const logo = form.elements.logo_file;
  const encode = () => {
    form.enctype = logo?.files.length ? "multipart/form-data" : "application/x-www-form-urlencoded";
  };
  logo?.addEventListener("change", encode);
  encode();
  for (const name of ["colour", "logo_file", "remove_logo"]) {
    if (mayChange) form.elements[name]?.addEventListener("change", soon);
  }
  for (const name of ["tenant", "period", "language"]) {
    form.elements[name]?.addEventListener("change", showPreview);
    form.elements[name]?.addEventListener("keydown", (event) => {
      if (event.key !== "Enter") return;
      event.preventDefault();
      showPreview();
    });
  }
  form.elements.to?.addEventListener("keydown", (event) => {
    if (event.key !== "Enter") return;
    event.preventDefault();
    form.querySelector(".editor__test button").click();
  });

  // Tenants to choose from, as one types.
  const list = document.getElementById("tenant-list");
  let looking;
  form.elements.tenant?.addEventListener("input", () => {
    clearTimeout(looking);
    looking = setTimeout(async () => {
      const words = form.elements.tenant.value.trim();
      if (!words || words.includes(" · ")) return;
      const answer = await window.invoicing.ask(`/api/v1/tenants?limit=12&q=${encodeURIComponent(words)}`);
      if (!answer.ok) return;
      const { tenants } = await answer.json();
      // An earlier answer may come after a later one.
      if (words !== form.elements.tenant.value.trim()) return;
      list.replaceChildren(
        ...tenants.map((tenant) => {
          const option = document.createElement("option");
          option.value = `${tenant.code} · ${tenant.name}`;
          return option;
        }),
      );
    }, 250);
  });

  for (const button of form.querySelectorAll("[data-insert]")) {
    button.addEventListener("click", () => {
      const area = textOf(shown);
      area.focus();
      area.setRangeText(button.dataset.insert, area.selectionStart, area.selectionEnd, "end");
      number(shown);
      soon();
    });
  }

  const first = form.querySelector(".problems__item [data-part]");
  for (const link of form.querySelectorAll(".problems__item [data-line]")) {
    (wrong[link.dataset.part] ??= new Set()).add(Number(link.dataset.line));
  }
  for (const item of form.querySelectorAll(".problems__item:not(.problems__item--warning) [data-part]")) {
    document.querySelector(`#tab-${item.dataset.part} .editor__mark`).hidden = false;
    form.querySelector("[data-code-mark]").hidden = false;
  }
  if (first) open(first.dataset.part, false);
  else open(panels[0].dataset.panel, false);
  if (!first && holder.querySelector("[data-stale]")) showPreview();
})();
