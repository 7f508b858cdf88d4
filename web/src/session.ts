// Who uses the console, and what they may do. The service decides it; pages only hide what is not possible.

import { useEffect, useState } from "preact/hooks";
import { type ApiError, call, onSignedOut, send } from "./api";
import { asApiError } from "./request";

/** What the service says about this browser. */
export interface Me {
  /** `null`: it has not signed in. */
  role: "view" | "change" | null;
  by: "socket" | "token" | "session" | "home_assistant" | "nothing";
  /** The session ends then. */
  until?: string;
  /** Whether a token can be typed to sign in. */
  has_token: boolean;
}

/** `undefined`: not known yet. */
type State = { me?: Me; error?: ApiError };

/** Where browsers sign in and out, relative to the page. */
const SESSION = "session";
/** How a link of `stakeout console` ends. */
const LINK = /^#sign-in=(.+)$/;

const listeners = new Set<(state: State) => void>();
let state: State = {};
let isStarted = false;

/** Who uses the console. */
export function useSession(): State {
  const [now, setNow] = useState(state);
  useEffect(() => {
    listeners.add(setNow);
    void start();
    return () => void listeners.delete(setNow);
  }, []);
  return now;
}

/** Whether this browser may change something: judge, save, forget. */
export function useMayChange(): boolean {
  return useSession().me?.role === "change";
}

/** Signs in with the token of the configuration. */
export async function signIn(token: string): Promise<void> {
  await send("POST", SESSION, { token });
  await refresh();
}

/** Ends this session. */
export async function signOut(): Promise<void> {
  await send("DELETE", SESSION);
  await refresh();
}

/** Asks the service again. */
export async function refresh(): Promise<void> {
  try {
    set({ me: await call<Me>("GET", "me") });
  } catch (error) {
    set({ error: asApiError(error) });
  }
}

/** Uses up the code of a link, if the address has one, and then asks who this is. */
async function start() {
  if (isStarted) return;
  isStarted = true;
  onSignedOut(() => void refresh());
  const code = LINK.exec(location.hash)?.[1];
  if (code === undefined) return refresh();
  // The code must not stay in the address or in the history of the browser.
  history.replaceState(null, "", "#/live");
  window.dispatchEvent(new HashChangeEvent("hashchange"));
  try {
    await send("POST", SESSION, { code: decodeURIComponent(code) });
    await refresh();
  } catch (error) {
    await refresh();
    // An old link does no harm to a browser that is signed in.
    if (!state.me?.role) set({ ...state, error: asApiError(error) });
  }
}

function set(next: State) {
  state = next;
  listeners.forEach((listener) => listener(next));
}
