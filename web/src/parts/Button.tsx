import type { ComponentChildren } from "preact";

interface Props {
  children: ComponentChildren;
  /** `primary`: the one thing to do here. `quiet`: without a border. `danger`: deletes something. */
  kind?: "plain" | "primary" | "quiet" | "danger";
  onClick?: (event: MouseEvent) => void;
  disabled?: boolean;
  /** Its work is in progress: it cannot be pressed again. */
  busy?: boolean;
  type?: "button" | "submit";
  /** Whether a switch is on. */
  pressed?: boolean;
  /** For a button that opens a Sheet or a menu. */
  expanded?: boolean;
  /** A name for screen readers, where the content is a sign. */
  label?: string;
  title?: string;
  class?: string;
}

/** A button. */
export function Button({ children, kind = "plain", type = "button", busy = false, pressed, expanded, label, disabled, ...rest }: Props) {
  return (
    <button
      {...rest}
      type={type}
      class={`button button-${kind} ${rest.class ?? ""}`}
      disabled={disabled === true || busy}
      aria-busy={busy || undefined}
      aria-pressed={pressed}
      aria-expanded={expanded}
      aria-label={label}
    >
      {children}
    </button>
  );
}
