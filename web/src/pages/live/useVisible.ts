// Whether an element is on the screen, or nearly. All elements share one observer.

import { type RefObject } from "preact";
import { useEffect, useState } from "preact/hooks";

const listeners = new WeakMap<Element, (isVisible: boolean) => void>();
let observer: IntersectionObserver | undefined;

/** Whether the element of `ref` is visible. */
export function useVisible(ref: RefObject<Element | null>): boolean {
  const [isVisible, setVisible] = useState(false);
  useEffect(() => {
    const element = ref.current;
    if (!element) return;
    observer ??= new IntersectionObserver(
      (entries) => entries.forEach((entry) => listeners.get(entry.target)?.(entry.isIntersecting)),
      { rootMargin: "100px" },
    );
    listeners.set(element, setVisible);
    observer.observe(element);
    return () => {
      listeners.delete(element);
      observer?.unobserve(element);
    };
  }, []);
  return isVisible;
}
