import type { ComponentChildren } from "preact";
import { useEffect } from "preact/hooks";

/** The first line of a page: its title, and beside it filters (children) and, at the right, `aside`. */
export function Heading({ title, children, aside }: { title: string; children?: ComponentChildren; aside?: ComponentChildren }) {
  useEffect(() => {
    document.title = `${title} – stakeout`;
  }, [title]);
  return (
    <div class="heading">
      <h1>{title}</h1>
      {children}
      {aside !== undefined && <div class="heading-aside">{aside}</div>}
    </div>
  );
}
