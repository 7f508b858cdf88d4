// The colours of style.css, for what is drawn on a canvas.

/** A colour of style.css as the canvas needs it: `colour("--accent")`. */
export function colour(token: string): string {
  const probe = document.createElement("i");
  probe.style.color = `var(${token})`;
  document.body.append(probe);
  const value = getComputedStyle(probe).color;
  probe.remove();
  return value;
}
