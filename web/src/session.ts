// Who uses the console, and what they may do. The service decides it; pages only hide what is not possible.

import { useEffect, useState } from "preact/hooks";
import { ApiError, type Schema, get, onSignedOut, send } from "./api";
import { onRefused, pause } from "./events";
import { asApiError } from "./request";

/** What the service says about this browser. Without a role, it has not signed in. */
export type Me = Schema<"Me">;

/** `undefined`: not known yet. */
type State = { me?: Me; error?: ApiError };

/** Where browsers sign in and out, relative to the page. */
const SESSION = "session";
/** How a link of `stakeout console` ends. */
const LINK = /^#sign-in=(.+)$/;

const listeners = new Set<(state: State) => void>();
let state: State = {};
let isStarted = false;
let isProving = false;

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
  await prove({ token });
}

/** Ends this session. */
export async function signOut(): Promise<void> {
  await send("DELETE", SESSION);
  await refresh();
}

/** Asks the service again. */
export async function refresh(): Promise<void> {
  try {
    set({ me: await get("me") });
  } catch (error) {
    set({ error: asApiError(error) });
  }
}

async function start() {
  if (isStarted) return;
  isStarted = true;
  // A wrong code or token is no sign-out: its error must stay.
  onSignedOut(() => void (isProving || refresh()));
  onRefused(() => void noticeTheEnd());
  // A link that is opened where the console is open already changes only this part of the address.
  window.addEventListener("hashchange", () => void followLink());
  if (!(await followLink())) await refresh();
}

/** Uses up the code of a link, and then asks who this is. Returns whether the address has a code. */
async function followLink(): Promise<boolean> {
  const code = LINK.exec(location.hash)?.[1];
  if (code === undefined) return false;
  // The code must not stay in the address or in the history of the browser.
  history.replaceState(null, "", "#/live");
  window.dispatchEvent(new HashChangeEvent("hashchange"));
  try {
    await prove({ code: decodeURIComponent(code) });
  } catch (error) {
    await refresh();
    // An old link does no harm to a browser that is signed in.
    if (!state.me?.role) set({ ...state, error: asApiError(error) });
  }
  return true;
}

/** Signs in, and makes sure that the browser keeps the session. */
async function prove(proof: { code: string } | { token: string }) {
  isProving = true;
  try {
    await send("POST", SESSION, proof);
  } finally {
    isProving = false;
  }
  await refresh();
  if (!state.me || state.me.role) return;
  const remedy = "Allow cookies for this page. If the service has a `listen.base_url`, use that address.";
  throw new ApiError(0, "the browser has not kept the sign-in", undefined, remedy);
}

/** Asks whether the session has ended. A service that does not answer says nothing about it. */
async function noticeTheEnd() {
  const me = await get("me").catch(() => undefined);
  if (me) set({ me });
}

function set(next: State) {
  if (next.me && !next.me.role) pause();
  state = next;
  listeners.forEach((listener) => listener(next));
}
