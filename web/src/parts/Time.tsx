import { useEffect, useRef, useState } from "preact/hooks";
import { time } from "../format";

/** A time: relative until it is a minute old, then local. The whole time is its title. */
export function Time({ at, prefix = "" }: { at: string | number | Date; prefix?: string }) {
  const date = at instanceof Date ? at : new Date(at);
  const text = useTime((now) => time(date, now));
  if (Number.isNaN(date.getTime())) return null;
  return <time dateTime={date.toISOString()} title={date.toLocaleString()}>{prefix}{text}</time>;
}

const TICK_MS = 1_000;
const listeners = new Set<(now: Date) => void>();
let timer: number | undefined;

/** The day, at its beginning. */
export function useToday(): Date {
  return new Date(useTime((now) => now.toDateString()));
}

/** A text that depends on the time. The component is drawn again when the text changes. All components share one timer. */
function useTime(textAt: (now: Date) => string): string {
  const text = textAt(new Date());
  const drawn = useRef({ text, textAt });
  drawn.current = { text, textAt };
  const [, draw] = useState(0);
  useEffect(() => {
    const listener = (now: Date) => {
      if (drawn.current.textAt(now) !== drawn.current.text) draw((before) => before + 1);
    };
    listeners.add(listener);
    timer ??= window.setInterval(() => {
      const next = new Date();
      if (!document.hidden) listeners.forEach((listener) => listener(next));
    }, TICK_MS);
    return () => {
      listeners.delete(listener);
      if (listeners.size > 0) return;
      clearInterval(timer);
      timer = undefined;
    };
  }, []);
  return text;
}
