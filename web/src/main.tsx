// The shell: the header with the pages, the theme, and the page that the address names. A page is loaded when it is opened.

import { type ComponentType, render } from "preact";
import { useEffect, useRef, useState } from "preact/hooks";
import { useConnection, useService } from "./events";
import { counted, sentence } from "./format";
import { Button } from "./parts/Button";
import { Problem } from "./parts/Problem";
import { Toasts, toast } from "./parts/Toast";
import { asApiError } from "./request";
import { PAGES, type PageName, link, useRoute } from "./router";
import { type Me, refresh, signOut, useSession } from "./session";
import { SignedOut } from "./signed-out";
import { type Theme, restoreTheme, useTheme } from "./theme";

const TITLES: Record<PageName, string> = {
  live: "Live",
  alerts: "Alerts",
  tune: "Tune",
  search: "Search",
  configuration: "Configuration",
  system: "System",
  start: "Start",
};

const LOADERS: Record<PageName, () => Promise<{ default: ComponentType }>> = {
  live: () => import("./pages/live"),
  alerts: () => import("./pages/alerts"),
  tune: () => import("./pages/tune"),
  search: () => import("./pages/search"),
  configuration: () => import("./pages/configuration"),
  system: () => import("./pages/system"),
  start: () => import("./pages/start"),
};

function Shell() {
  const { page } = useRoute();
  const { me, error } = useSession();
  return (
    <>
      <a class="skip" href="#main" onClick={skip}>Skip to the page</a>
      <Header page={page} isSignedIn={Boolean(me?.role)} />
      <main id="main" tabIndex={-1}>
        {me?.role && <Lazy page={page} />}
        {me && !me.role && <SignedOut hasToken={me.has_token} error={error} />}
        {!me && error && <Problem error={error} onRetry={() => void refresh()} />}
      </main>
      {me?.role && <Footer me={me} />}
      {me?.role && <GoTo />}
      <Toasts />
    </>
  );
}

/** The address is the page's, so the link only moves the focus. */
function skip(event: Event) {
  event.preventDefault();
  document.getElementById("main")?.focus();
}

function Header({ page, isSignedIn }: { page: PageName; isSignedIn: boolean }) {
  return (
    <header class="header">
      <a class="header-name" href={link("live")}>stakeout</a>
      {isSignedIn && (
        <nav aria-label="Pages">
          {PAGES.map((name) => (
            <a key={name} href={link(name)} aria-current={name === page ? "page" : undefined}>{TITLES[name]}</a>
          ))}
        </nav>
      )}
      <div class="header-state">
        {isSignedIn && <State />}
        {isSignedIn && <Button kind="quiet" class="goto" onClick={() => openPalette()}><span class="hidden">Go to</span> {GO_TO}</Button>}
        <ThemeSwitch />
      </div>
    </header>
  );
}

function State() {
  const connection = useConnection();
  const service = useService();
  if (connection === "lost") return <span class="state state-problem" role="status">not connected: trying again</span>;
  if (!service) return <span class="state" role="status">connecting</span>;
  const { online, sources, broker_connected, configuration_valid } = service;
  const isWell = online === sources && broker_connected && configuration_valid;
  return (
    <span class="header-facts" role="status">
      <a class={`state ${isWell ? "state-well" : "state-problem"}`} href={link("live")}>{online} of {counted(sources, "source")} online</a>
      <a class={broker_connected ? "wide" : "state-text"} href={link("system")}>broker {broker_connected ? "connected" : "not connected"}</a>
      {!configuration_valid && <a class="state-text" href={link("configuration")}>configuration invalid</a>}
    </span>
  );
}

function ThemeSwitch() {
  const [theme, setTheme] = useTheme();
  const next: Record<Theme, Theme> = { system: "light", light: "dark", dark: "system" };
  const names: Record<Theme, string> = { system: "as the system", light: "light", dark: "dark" };
  return (
    <Button kind="quiet" label={`Colours: ${names[theme]}. Change to ${names[next[theme]]}`} title={`Colours: ${names[theme]}`} onClick={() => setTheme(next[theme])}>
      <span class={`theme-sign theme-${theme}`} aria-hidden="true" />
    </Button>
  );
}

/** The keys of the palette, as this system writes them. */
const GO_TO = /Mac|iP(hone|ad)/.test(navigator.platform) ? "⌘K" : "Ctrl K";
let openPalette = () => {};

/** The palette, as soon as it is wanted. */
function GoTo() {
  const [Palette, setPalette] = useState<ComponentType<{ onClose: () => void }>>();
  const [isOpen, setOpen] = useState(false);
  openPalette = () => {
    // A file that is gone after an update of the service: the pages of the header remain.
    import("./palette").then((loaded) => setPalette(() => loaded.default), () => undefined);
    setOpen(true);
  };
  useEffect(() => {
    const pressed = (event: KeyboardEvent) => {
      if (event.key.toLowerCase() !== "k" || !(event.ctrlKey || event.metaKey) || event.altKey || event.shiftKey) return;
      if (event.defaultPrevented || document.querySelector("dialog[open]")) return;
      event.preventDefault();
      openPalette();
    };
    window.addEventListener("keydown", pressed);
    return () => window.removeEventListener("keydown", pressed);
  }, []);
  return isOpen && Palette ? <Palette onClose={() => setOpen(false)} /> : null;
}

/** What this browser may do. */
function Footer({ me }: { me: Me }) {
  const may = me.role === "change" ? "You may look and change." : "You may look, and change nothing.";
  return (
    <footer class="footer">
      <a href="../docs/">Documentation</a>
      <span>{may}</span>
      {me.by === "session" && <SignOut />}
    </footer>
  );
}

/** Ends the session. If that fails, the person must know that this browser is still signed in. */
function SignOut() {
  const [isBusy, setBusy] = useState(false);
  const leave = async () => {
    setBusy(true);
    try {
      await signOut();
    } catch (thrown) {
      const { status, problem, remedy } = asApiError(thrown);
      // The session had ended already, and the page for signing in appears.
      if (status !== 401) toast(`You are still signed in. ${sentence(problem)} ${sentence(remedy ?? "Try again.")}`);
    }
    setBusy(false);
  };
  return <Button kind="quiet" busy={isBusy} onClick={() => void leave()}>Sign out</Button>;
}

/** The page, as soon as it is loaded. The page before it stays until then. */
function Lazy({ page }: { page: PageName }) {
  const [loaded, setLoaded] = useState<{ name: PageName; Page: ComponentType }>();
  const [isBroken, setBroken] = useState(false);
  const isFirst = useRef(true);
  useEffect(() => {
    let isLate = false;
    LOADERS[page]().then(
      ({ default: Page }) => {
        if (isLate) return;
        setBroken(false);
        setLoaded({ name: page, Page });
        if (!isFirst.current) {
          scrollTo(0, 0);
          document.getElementById("main")?.focus({ preventScroll: true });
        }
        isFirst.current = false;
      },
      () => !isLate && setBroken(true),
    );
    return () => void (isLate = true);
  }, [page]);
  // After an update of the service the files of the old page are gone.
  if (isBroken) return <Problem onRetry={() => location.reload()}><p>This page cannot be loaded. Load the console again.</p></Problem>;
  return loaded ? <loaded.Page key={loaded.name} /> : null;
}

restoreTheme();
const root = document.getElementById("console");
if (root) render(<Shell />, root);
