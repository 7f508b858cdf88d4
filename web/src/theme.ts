// Light or dark: as the system is set, until the switch says otherwise. What the switch says is kept in this browser.

import { useEffect, useState } from "preact/hooks";

export type Theme = "system" | "light" | "dark";
const KEY = "stakeout.theme";
const listeners = new Set<() => void>();

/** Applies the theme that this browser remembers. */
export function restoreTheme() {
  apply(remembered());
  matchMedia("(prefers-color-scheme: dark)").addEventListener("change", () => listeners.forEach((listener) => listener()));
}

/** The chosen theme, and the function that chooses one. */
export function useTheme(): [Theme, (theme: Theme) => void] {
  const [theme, setTheme] = useState<Theme>(remembered);
  return [
    theme,
    (next) => {
      try {
        localStorage.setItem(KEY, next);
      } catch {
        // A browser that keeps nothing: the choice lasts until the page is closed.
      }
      apply(next);
      setTheme(next);
    },
  ];
}

/** A number that changes with the colours, for what is drawn on a canvas. */
export function useColours(): number {
  const [round, setRound] = useState(0);
  useEffect(() => {
    const changed = () => setRound((before) => before + 1);
    listeners.add(changed);
    return () => void listeners.delete(changed);
  }, []);
  return round;
}

function apply(theme: Theme) {
  if (theme === "system") delete document.documentElement.dataset.theme;
  else document.documentElement.dataset.theme = theme;
  listeners.forEach((listener) => listener());
}

function remembered(): Theme {
  try {
    const theme = localStorage.getItem(KEY);
    return theme === "light" || theme === "dark" ? theme : "system";
  } catch {
    return "system";
  }
}
