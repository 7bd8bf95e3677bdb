// The frame around the pages: who one is, where one is, how it looks.

import { announce, h, icon, replace } from './dom.js';
import * as api from './api.js';
import { button, failure, field, form, toast } from './view.js';
import { to } from './format.js';
import { logInWithPasskey, loginChallenge } from './passkeys.js';
import { overview } from './pages/overview.js';
import { catalogue, record } from './pages/catalogue.js';
import { functions, oneFunction } from './pages/functions.js';
import { instances, oneInstance } from './pages/instances.js';
import { bucket, buckets, object } from './pages/objects.js';
import { audit } from './pages/audit.js';
import { passkeyPage } from './pages/passkeys.js';
import { people, principal } from './pages/people.js';
import { decisions } from './pages/decisions.js';
import { report, threat, threats } from './pages/threats.js';
import { peers, reputation } from './pages/peers.js';

const SECTIONS = [
  [null, [['overview', 'Overview', []], ['catalogue', 'Catalogue', ['catalogue']]]],
  ['Computing', [['functions', 'Functions', ['functions']], ['instances', 'Instances', ['instances']]]],
  ['Storage', [['buckets', 'Buckets', ['buckets']]]],
  ['Intelligence', [['threats', 'Threats', ['threats']], ['peers', 'Peers', ['peers']]]],
  ['Trust', [['audit', 'Audit log', ['audit']], ['people', 'Access', ['access']], ['decisions', 'Decisions', ['decisions']]]],
];

// The first that matches shows the page; `*` stands for one segment.
const ROUTES = [
  [[], overview, 'overview'],
  [['catalogue'], catalogue, 'catalogue'], [['catalogue', '*', '*'], record, 'catalogue'],
  [['functions'], functions, 'functions'], [['functions', '*'], oneFunction, 'functions'],
  [['instances'], instances, 'instances'], [['instances', '*'], oneInstance, 'instances'],
  [['buckets'], buckets, 'buckets'], [['buckets', '*'], bucket, 'buckets'], [['object', '*', '*'], object, 'buckets'],
  [['threats'], threats, 'threats'], [['threats', 'report'], report, 'threats'], [['threats', '*'], threat, 'threats'],
  [['peers'], peers, 'peers'], [['reputations', '*'], reputation, 'peers'],
  [['audit'], audit, 'audit'],
  [['access'], people, 'people'], [['principals', '*'], principal, 'people'],
  [['decisions'], decisions, 'decisions'],
  [['passkeys'], passkeyPage, 'passkeys'],
];

const THEMES = { auto: ['auto', 'As the system'], light: ['sun', 'Light'], dark: ['moon', 'Dark'] };
const THEME_KEY = 'cryptomesh.theme';

const app = document.getElementById('app');
let me = null;
let leaving = new AbortController();
let main = null;

function theme() {
  try {
    return Object.hasOwn(THEMES, localStorage.getItem(THEME_KEY)) ? localStorage.getItem(THEME_KEY) : 'auto';
  } catch {
    return 'auto';
  }
}

function setTheme(name) {
  document.documentElement.dataset.theme = name;
  try {
    localStorage.setItem(THEME_KEY, name);
  } catch {
    // A browser that keeps nothing shows the choice until the page is left.
  }
}

function themeSwitch() {
  const control = h('button', { class: 'icon-button theme', type: 'button' });
  const draw = () => {
    const [symbol, text] = THEMES[theme()];
    replace(control, icon(symbol));
    control.setAttribute('aria-label', `Colours: ${text}. Change`);
    control.title = `Colours: ${text}`;
  };
  control.addEventListener('click', () => {
    const names = Object.keys(THEMES);
    setTheme(names[(names.indexOf(theme()) + 1) % names.length]);
    draw();
    announce(`Colours: ${THEMES[theme()][1]}`);
  });
  draw();
  return control;
}

const brand = () => h('a', { class: 'brand', href: '#/' }, h('img', { src: './assets/icon.svg', alt: '', width: 28, height: 28 }), h('span', {}, 'CryptoMesh'));

/** Where one is: the segments of the address, and what is asked of the page. */
function place() {
  const [path, query] = location.hash.replace(/^#\/?/, '').split('?');
  const segments = path === '' ? [] : path.split('/').map((segment) => {
    try {
      return decodeURIComponent(segment);
    } catch {
      return segment;
    }
  });
  return { segments, query: new URLSearchParams(query ?? '') };
}

function routed(segments) {
  return ROUTES.find(([pattern]) => pattern.length === segments.length && pattern.every((part, index) => part === '*' || part === segments[index]));
}

function frame() {
  const links = SECTIONS.map(([title, pages]) => h('div', { class: 'nav-section' }, title && h('p', { class: 'nav-title' }, title),
    h('ul', {}, pages.map(([name, text, segments]) => h('li', {}, h('a', { href: to(...segments), dataset: { page: name } }, icon(name), h('span', {}, text)))))));
  const menu = h('button', { class: 'icon-button menu', type: 'button', 'aria-expanded': 'false', 'aria-controls': 'nav', 'aria-label': 'Menu', on: { click: () => toggle() } }, icon('menu'));
  const nav = h('nav', { id: 'nav', class: 'nav', 'aria-label': 'Pages' }, links);
  const toggle = (open = menu.getAttribute('aria-expanded') !== 'true') => {
    menu.setAttribute('aria-expanded', String(open));
    document.body.classList.toggle('nav-open', open);
  };
  nav.addEventListener('click', (event) => { if (event.target.closest('a')) toggle(false); });
  document.addEventListener('keydown', (event) => { if (event.key === 'Escape') toggle(false); });
  const who = me.credential === 'none' ? h('span', { class: 'badge warn', title: 'The node asks nobody who they are' }, 'open mode')
    : h('a', { class: 'who', href: to('principals', me.principal) }, icon('people'), h('span', {}, me.principal));
  const keys = h('a', { class: 'icon-button', href: to('passkeys'), title: 'Your passkeys', 'aria-label': 'Your passkeys', hidden: true }, icon('key'));
  if (me.credential !== 'none') loginChallenge().then((challenge) => { keys.hidden = challenge === null; });
  main = h('main', { id: 'main', tabindex: '-1' });
  replace(app, h('div', { class: 'shell' },
    h('header', { class: 'top' }, menu, brand(), h('div', { class: 'top-right' }, who, keys, themeSwitch(),
      me.credential !== 'none' && h('button', { class: 'icon-button', type: 'button', title: 'Log out', 'aria-label': 'Log out', on: { click: leave } }, icon('leave')))),
    nav, h('div', { class: 'veil', on: { click: () => toggle(false) } }), main));
}

async function leave() {
  try {
    await api.logOut();
  } catch (error) {
    toast(error.message, 'bad');
    return;
  }
  me = null;
  loginPage();
}

let drawn = 0;
async function show() {
  if (!me) return;
  leaving.abort();
  leaving = new AbortController();
  const turn = ++drawn;
  const { segments, query } = place();
  const [pattern, page, name] = routed(segments) ?? [[], null, null];
  for (const link of app.querySelectorAll('[data-page]')) {
    if (link.dataset.page === name) link.setAttribute('aria-current', 'page');
    else link.removeAttribute('aria-current');
  }
  const params = segments.filter((_, index) => pattern[index] === '*');
  main.setAttribute('aria-busy', 'true');
  const waiting = setTimeout(() => { if (turn === drawn) replace(main, h('div', { class: 'skeleton title' }), h('div', { class: 'skeleton' }), h('div', { class: 'skeleton short' })); }, 200);
  let content;
  try {
    content = page ? await page({ params, query, signal: leaving.signal, me, reload: show })
      : [h('h1', { tabindex: '-1' }, 'No such page'), h('p', {}, h('a', { href: '#/' }, 'To the overview'))];
  } catch (error) {
    if (error.name === 'AbortError' || !me) return;
    content = [h('h1', { tabindex: '-1', class: 'hidden-visually' }, 'Error'), failure(error, show)];
  } finally {
    clearTimeout(waiting);
  }
  if (turn !== drawn || !me) return;
  replace(main, content);
  main.removeAttribute('aria-busy');
  const heading = main.querySelector('h1');
  document.title = `${heading?.textContent ?? 'Console'} · CryptoMesh`;
  window.scrollTo(0, 0);
  heading?.focus({ preventScroll: true });
}

/** A place for the way in without a password; it stays empty where there is none. */
function passkeyButton() {
  const outcome = h('div', { class: 'outcome', 'aria-live': 'polite' });
  const place = h('div', { class: 'login-passkey', hidden: true });
  const enter = button('Sign in with a passkey', { symbol: 'key', on: { click: async () => {
    enter.disabled = true;
    replace(outcome);
    try {
      await logInWithPasskey();
      await begin();
    } catch (error) {
      replace(outcome, failure(error));
    } finally {
      enter.disabled = false;
    }
  } } });
  loginChallenge().then((challenge) => {
    if (challenge === null) return;
    replace(place, enter, outcome);
    place.hidden = false;
  });
  return place;
}

function loginPage(note) {
  leaving.abort();
  drawn += 1;
  document.title = 'Log in · CryptoMesh';
  const enter = async (credentials) => {
    await api.logIn(credentials);
    await begin();
  };
  const password = form([
    field('Name', h('input', { name: 'principal', autocomplete: 'username', required: true, spellcheck: 'false', autocapitalize: 'off' })),
    field('Password', h('input', { name: 'password', type: 'password', autocomplete: 'current-password', required: true })),
    field('Code', h('input', { name: 'code', type: 'text', inputmode: 'numeric', autocomplete: 'one-time-code', spellcheck: 'false' }), { hint: 'Of your device, if your password has a second factor.' }),
  ], { action: 'Log in', submit: ({ principal, password: secret, code }) => enter(code ? { principal, password: secret, code } : { principal, password: secret }) });
  const token = form([
    field('API key or token', h('input', { name: 'token', type: 'password', autocomplete: 'off', required: true, spellcheck: 'false' }), { hint: 'The administrator’s lies in admin.token of the data directory.' }),
  ], { action: 'Log in with it', kind: '', submit: ({ token: key }) => enter({ token: key.trim() }) });
  replace(app, h('div', { class: 'login-page' }, h('div', { class: 'login-top' }, themeSwitch()), h('main', { id: 'main', class: 'login', tabindex: '-1' },
    h('div', { class: 'login-brand' }, h('img', { src: './assets/icon.svg', alt: '', width: 44, height: 44 }), h('h1', { tabindex: '-1' }, 'CryptoMesh')),
    note && h('p', { class: 'note', role: 'status' }, note),
    password, passkeyButton(), h('details', { class: 'login-more' }, h('summary', {}, 'Use an API key'), token))));
  app.querySelector('input')?.focus();
}

/** Finds out who one is, and shows what they may see. */
async function begin() {
  me = await api.get(['auth', 'whoami']);
  frame();
  await show();
}

api.session.ended = () => {
  if (!me) return;
  me = null;
  loginPage('Your session has ended. Log in to go on where you were.');
};

window.addEventListener('hashchange', show);

// The address says which page it is, so that the link cannot use it.
document.querySelector('.skip').addEventListener('click', (event) => {
  event.preventDefault();
  document.getElementById('main')?.focus();
});

setTheme(theme());
begin().catch((error) => {
  if (error instanceof api.Refused && error.status === 401) loginPage();
  else replace(app, h('main', { class: 'login', id: 'main' }, h('h1', { class: 'hidden-visually' }, 'CryptoMesh'), failure(error, () => location.reload())));
});
