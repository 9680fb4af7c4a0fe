// Runs before the page is drawn, so that a chosen theme never flashes in the other colours.
// Without a choice the system's preference holds, by CSS alone.

"use strict";

(() => {
  const KEY = "chaind-theme";
  const root = document.documentElement;
  const system = matchMedia("(prefers-color-scheme: dark)");

  function chosen() {
    try {
      return localStorage.getItem(KEY);
    } catch {
      return null; // storage is switched off: the choice lasts as long as the page
    }
  }

  function keep(theme) {
    try {
      localStorage.setItem(KEY, theme);
    } catch {
      return; // as above
    }
  }

  const theme = chosen();
  if (theme === "light" || theme === "dark") root.dataset.theme = theme;

  window.chaindTheme = {
    current: () => root.dataset.theme ?? (system.matches ? "dark" : "light"),
    toggle() {
      root.dataset.theme = this.current() === "dark" ? "light" : "dark";
      keep(root.dataset.theme);
      return root.dataset.theme;
    },
  };
})();
