// Addresses are `#/alerts?source=yard`: the page, and its filters. A filter that is set is a new entry of the browser's history.

import { useCallback, useEffect, useMemo, useState } from "preact/hooks";

/** The pages. `start` is the guided start. */
export type PageName = "live" | "alerts" | "tune" | "search" | "configuration" | "system" | "start";
/** The pages of the header, in their order. */
export const PAGES: readonly PageName[] = ["live", "alerts", "tune", "search", "configuration", "system"];

export type Query = Record<string, string>;

export interface Route {
  page: PageName;
  query: Query;
}

/** The page and the filters of an address such as `#/alerts?source=yard`. An unknown page is Live. */
export function parse(hash: string): Route {
  const [path = "", query = ""] = hash.replace(/^#?\/?/, "").split("?", 2);
  const page = [...PAGES, "start" as const].find((name) => name === path) ?? "live";
  return { page, query: Object.fromEntries(new URLSearchParams(query)) };
}

/** The address of a page, for `href`. Empty filters are left out. */
export function link(page: PageName, query: Record<string, string | number | undefined> = {}): string {
  const filled = Object.entries(query).flatMap(([name, value]) =>
    value === undefined || value === "" ? [] : [[name, String(value)]],
  );
  const text = new URLSearchParams(filled).toString();
  return `#/${page}${text && `?${text}`}`;
}

/** Goes to a page. */
export function go(page: PageName, query: Record<string, string | number | undefined> = {}) {
  location.hash = link(page, query);
}

/** The page and the filters of the present address. */
export function useRoute(): Route {
  const [hash, setHash] = useState(location.hash);
  useEffect(() => {
    const changed = () => setHash(location.hash);
    window.addEventListener("hashchange", changed);
    return () => window.removeEventListener("hashchange", changed);
  }, []);
  return useMemo(() => parse(hash), [hash]);
}

/**
 * The filters of the address, and a function that changes some of them: `undefined` or an empty text removes a filter. With `replace`
 * the browser's history gets no new entry, as for a selection that follows the keyboard.
 */
export function useQuery(): [Query, (changes: Record<string, string | undefined>, replace?: boolean) => void] {
  const { query } = useRoute();
  const set = useCallback((changes: Record<string, string | undefined>, replace = false) => {
    const now = parse(location.hash);
    const next = link(now.page, { ...now.query, ...changes });
    if (next === location.hash) return;
    if (!replace) {
      location.hash = next;
      return;
    }
    history.replaceState(null, "", next);
    window.dispatchEvent(new HashChangeEvent("hashchange"));
  }, []);
  return [query, set];
}
