// Ticking tenants for a change of several at once.
(() => {
  const form = document.getElementById("bulk");
  const all = document.querySelector("[data-tick-all]");
  if (!form || !all) return;
  const boxes = [...form.querySelectorAll("input[name=code]")];
  const bulk = form.querySelector("[data-bulk]");
  const figure = form.querySelector("[data-ticked]");
  const scope = (value) => form.querySelector(`input[name=scope][value=${value}]`);
  const count = () => {
    const ticked = boxes.filter((box) => box.checked).length;
    all.checked = ticked === boxes.length;
    all.indeterminate = ticked > 0 && ticked < boxes.length;
    figure.textContent = `(${ticked})`;
    if (ticked > 0) {
      bulk.open = true;
      scope("ticked").checked = true;
    }
  };
  for (const box of boxes) box.addEventListener("change", count);
  all.addEventListener("change", () => {
    for (const box of boxes) box.checked = all.checked;
    count();
  });
  figure.textContent = `(${boxes.filter((box) => box.checked).length})`;
})();
