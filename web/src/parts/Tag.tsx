import type { ComponentChildren } from "preact";

/** A word about something: `new`, `right`, `wrong`. It cannot be pressed. */
export function Tag({ children, kind = "plain" }: {
  children: ComponentChildren;
  kind?: "plain" | "accent" | "raised" | "right" | "wrong" | "problem";
}) {
  return <span class={`tag tag-${kind}`}>{children}</span>;
}
