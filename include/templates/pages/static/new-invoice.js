// A single invoice: tenants to choose from as one types, and the leases of the one that was chosen.
(() => {
  const form = document.querySelector("[data-tenant-choice]");
  if (!form) return;
  const { tenant, lease } = form.elements;
  const list = document.getElementById("tenant-list");
  const option = (value, text) => {
    const made = document.createElement("option");
    made.value = value;
    if (text !== undefined) made.textContent = text;
    return made;
  };
  const read = async (path) => {
    const answer = await window.invoicing.ask(path);
    return answer.ok ? answer.json() : null;
  };

  const showLeases = async () => {
    const code = tenant.value.split(" · ")[0].trim();
    const found = await read(`/api/v1/tenants/${encodeURIComponent(code)}`);
    // Somebody may have typed on meanwhile.
    if (!found || code !== tenant.value.split(" · ")[0].trim()) return;
    const chosen = lease.value;
    const leases = found.leases.map(({ code, property }) => option(code, `${code} · ${property}`));
    lease.replaceChildren(lease.options[0], ...leases);
    lease.value = leases.some(({ value }) => value === chosen) ? chosen : "";
  };

  // Nothing is shown before something is asked for.
  const preview = document.querySelector("[data-preview]");
  preview.hidden = true;
  form.addEventListener("submit", (event) => {
    if (event.submitter?.formTarget === "preview") preview.hidden = false;
  });

  let looking;
  tenant.addEventListener("input", () => {
    clearTimeout(looking);
    looking = setTimeout(async () => {
      const words = tenant.value.trim();
      if (!words) return;
      if (words.includes(" · ")) {
        await showLeases();
        return;
      }
      const found = await read(`/api/v1/tenants?limit=12&q=${encodeURIComponent(words)}`);
      if (!found || words !== tenant.value.trim()) return;
      list.replaceChildren(...found.tenants.map(({ code, name }) => option(`${code} · ${name}`)));
    }, 250);
  });
})();
