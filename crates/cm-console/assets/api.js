// The public API, as the session's owner. Nothing else is asked.

import { h } from './dom.js';

/** Where the console itself lies; everything else is found from there. */
const HOME = new URL('../', import.meta.url);
const API = new URL('api/v1/', HOME);
/** No other site can send it without asking first, and is refused then. */
const OURS = { 'X-CryptoMesh-Console': '1' };
/** Between attempts to follow what broke off, in milliseconds: first and longest. */
const RETRY_MIN = 500;
const RETRY_MAX = 15000;

/** What the node refused. */
export class Refused extends Error {
  constructor(status, body) {
    const said = body?.error;
    const detail = typeof body?.detail === 'string' ? body.detail : body?.detail?.message;
    super(said?.message ?? detail ?? `the node answered ${status}`);
    this.status = status;
    this.code = said?.code;
    this.details = said?.details;
    this.requestId = said?.request_id;
  }
}

/** The node cannot be reached. */
export class Unreachable extends Error {
  constructor(cause) {
    super('the node cannot be reached', { cause });
  }
}

/** Called when a session ended while it was used. */
export const session = { ended: () => {} };

/** What an address takes for a step through it and not for a name, however it is written. */
const STEP = /^(\.|%2e){1,2}$/i;
const isStep = (segment) => STEP.test(encodeURIComponent(segment));

/** Whether an address can name this key. */
export const isAddressable = (key) => !key.split('/').some(isStep);

function segments(path) {
  const step = path.find(isStep);
  if (step !== undefined) throw new Error(`no address can contain the name “${step}”; use the command line or the S3 face instead`);
  return path.map((segment) => encodeURIComponent(segment)).join('/');
}

/** The address of something in the API, by its segments. */
export function address(path, query) {
  const url = new URL(segments(path), API);
  for (const [name, value] of Object.entries(query ?? {})) {
    if (value !== undefined && value !== null && value !== '') url.searchParams.set(name, value);
  }
  return url;
}

/** The address of an object: the slashes of its key stay. */
export const objectAddress = (bucket, key, version) => {
  const path = version ? ['buckets', bucket, 'versions', version] : ['buckets', bucket, 'objects'];
  return new URL(`${segments(path)}/${segments(key.split('/'))}`, API);
};

/** The same for a link. */
export const linkTo = (url) => url.pathname + url.search;

async function send(url, { method = 'GET', json, body, headers, signal } = {}) {
  const sent = { ...OURS, Accept: 'application/json', ...headers };
  if (json !== undefined) {
    sent['Content-Type'] = 'application/json';
    body = JSON.stringify(json);
  }
  let response;
  try {
    response = await fetch(url, { method, headers: sent, body, signal, credentials: 'same-origin', cache: 'no-store' });
  } catch (error) {
    if (error.name === 'AbortError') throw error;
    throw new Unreachable(error);
  }
  if (response.ok) return response;
  const said = await response.json().catch(() => null);
  const refused = new Refused(response.status, said);
  if (response.status === 401 && !url.pathname.endsWith('/session')) session.ended();
  throw refused;
}

async function decoded(response) {
  const text = await response.text();
  return text === '' ? null : JSON.parse(text);
}

/** Reads JSON. */
export const get = async (path, { query, signal } = {}) => decoded(await send(address(path, query), { signal }));

/** Reads text to the byte. */
export const text = async (path, { signal } = {}) => (await send(address(path), { signal, headers: { Accept: '*/*' } })).text();

/** One page and where the next begins. */
export async function page(path, { query, signal } = {}) {
  const response = await send(address(path, query), { signal });
  const next = response.headers.get('Next-Cursor');
  return { items: await decoded(response), next: next === null ? null : decodeURIComponent(next) };
}

/** Changes something. */
export const change = async (method, path, json, options = {}) => decoded(await send(address(path), { method, json, ...options }));

/** Changes an object. */
export const changeObject = async (method, url, body, headers) => decoded(await send(url, { method, body, headers }));

/** Begins a session. */
export const logIn = async (credentials) => decoded(await send(new URL('session', HOME), { method: 'POST', json: credentials }));

/** Ends the session. */
export const logOut = () => send(new URL('session', HOME), { method: 'DELETE' });

/**
 * Follows a stream of server-sent events until `signal` says stop; resumes by itself where it broke off.
 * (The browser's own reader knows only events whose names it was told before.)
 */
export async function follow(path, { query, after, signal, onEvent, onState = () => {} }) {
  let seen = after;
  let wait = RETRY_MIN;
  while (!signal.aborted) {
    try {
      const headers = { Accept: 'text/event-stream', ...(seen === undefined ? {} : { 'Last-Event-ID': String(seen) }) };
      const response = await send(address(path, query), { headers, signal });
      onState(true);
      wait = RETRY_MIN;
      for await (const event of events(response.body)) {
        if (event.id) seen = event.id;
        if (event.data) onEvent(JSON.parse(event.data));
      }
    } catch (error) {
      if (signal.aborted) return;
      if (error instanceof Refused && error.status < 500 && error.status !== 429) throw error;
    }
    onState(false);
    await pause(wait, signal);
    wait = Math.min(wait * 2, RETRY_MAX);
  }
}

function pause(milliseconds, signal) {
  return new Promise((resolve) => {
    const timer = setTimeout(resolve, milliseconds);
    signal.addEventListener('abort', () => { clearTimeout(timer); resolve(); }, { once: true });
  });
}

/** The messages of a stream (WHATWG HTML, section 9.2.6). */
async function* events(body) {
  const reader = body.pipeThrough(new TextDecoderStream()).getReader();
  let rest = '';
  let event = { data: '' };
  for (;;) {
    const { value, done } = await reader.read();
    if (done) return;
    const lines = (rest + value).split(/\r\n|\n|\r/);
    rest = lines.pop();
    for (const line of lines) {
      if (line === '') {
        if (event.data || event.id) yield event;
        event = { data: '' };
        continue;
      }
      const [, field, content] = /^([^:]*):? ?(.*)$/.exec(line);
      if (field === 'data') event.data += content;
      if (field === 'id') event.id = content;
      if (field === 'event') event.name = content;
    }
  }
}

/** A link that downloads. */
export const download = (url, name, ...children) => h('a', { class: 'button small', href: linkTo(url), download: name }, ...children);
