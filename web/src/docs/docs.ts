// Every page of the documentation: the colours, which the console remembers in the same place, the link to the console, and the key for the
// search. It runs before the page is drawn, so that the colours do not change.

type Theme = "system" | "light" | "dark";
const KEY = "stakeout.theme";
const NEXT: Record<Theme, Theme> = { system: "light", light: "dark", dark: "system" };
const NAMES: Record<Theme, string> = { system: "as the system", light: "light", dark: "dark" };

let theme = remembered();
apply();
document.addEventListener("DOMContentLoaded", () => {
  showTheme();
  const link = document.getElementById("console");
  // Pages that are opened from a folder have no console beside them.
  if (link) link.hidden = !location.protocol.startsWith("http");
  document.addEventListener("keydown", search);
});

function showTheme() {
  const button = document.getElementById("theme");
  const sign = button?.firstElementChild;
  if (!(button instanceof HTMLButtonElement) || !sign) return;
  const show = () => {
    button.setAttribute("aria-label", `Colours: ${NAMES[theme]}. Change to ${NAMES[NEXT[theme]]}`);
    sign.className = `theme-sign theme-${theme}`;
  };
  button.hidden = false;
  button.addEventListener("click", () => {
    theme = NEXT[theme];
    try {
      localStorage.setItem(KEY, theme);
    } catch {
      // A browser that keeps nothing: the choice lasts until another page is opened.
    }
    apply();
    show();
  });
  show();
}

function apply() {
  if (theme === "system") delete document.documentElement.dataset.theme;
  else document.documentElement.dataset.theme = theme;
}

function remembered(): Theme {
  try {
    const kept = localStorage.getItem(KEY);
    return kept === "light" || kept === "dark" ? kept : "system";
  } catch {
    return "system";
  }
}

/** `/` goes to the search, as in many documentations. */
function search(event: KeyboardEvent) {
  const isTyping = event.target instanceof Element && event.target.matches("input, textarea, select");
  if (event.key !== "/" || isTyping || event.ctrlKey || event.metaKey || event.altKey) return;
  event.preventDefault();
  document.getElementById("search")?.focus();
}

// A module for the compiler, which then keeps these names apart from those of other files.
export {};
