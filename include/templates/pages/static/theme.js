// Follow Airflow's own choice of theme (kept by next-themes in this origin's storage); without one, the system's.
(() => {
  const root = document.documentElement;
  const follow = () => {
    let choice = null;
    try {
      choice = localStorage.getItem("theme");
    } catch {
      // No storage: the system's theme it is.
    }
    if (choice === "light" || choice === "dark") root.dataset.theme = choice;
    else delete root.dataset.theme;
    // A frame that trusts nothing cannot look: its address names the choice.
    for (const frame of document.querySelectorAll("iframe[data-themed]")) {
      const [address] = frame.src.split("#");
      const wanted = root.dataset.theme ? `${address}#${root.dataset.theme}` : address;
      if (frame.src !== wanted) frame.src = wanted;
    }
  };
  follow();
  addEventListener("DOMContentLoaded", follow);
  addEventListener("storage", follow);
  // Airflow's toggle is in the document around this frame: it sends no storage event here.
  try {
    if (parent !== window) {
      new MutationObserver(() => setTimeout(follow)).observe(parent.document.documentElement, {
        attributes: true,
        attributeFilter: ["class", "data-theme", "style"],
      });
    }
  } catch {
    // Another origin's frame: it has no say in our theme.
  }
})();
