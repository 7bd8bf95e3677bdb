// Builds what the pages show. Text becomes text nodes and attributes are set one by one; there is no way from data to markup,
// and the policy of the page (Trusted Types) forbids the browser's own ways.

const SVG = 'http://www.w3.org/2000/svg';

/** An element. `props`: attributes; `on`: listeners by event; `dataset`; booleans are present or absent. Children: nodes, texts, lists, nothing. */
export function h(tag, props, ...children) {
  return fill(document.createElement(tag), props, children);
}

/** An element of a drawing. */
export function s(tag, props, ...children) {
  return fill(document.createElementNS(SVG, tag), props, children);
}

function fill(element, props, children) {
  for (const [name, value] of Object.entries(props ?? {})) {
    if (value === undefined || value === null || value === false) continue;
    if (name === 'on') {
      for (const [event, listener] of Object.entries(value)) element.addEventListener(event, listener);
    } else if (name === 'dataset') {
      Object.assign(element.dataset, value);
    } else if (name === 'style') {
      for (const [property, setting] of Object.entries(value)) element.style.setProperty(property, setting);
    } else if (name === 'value' && 'value' in element) {
      element.value = value;
    } else {
      element.setAttribute(name, attribute(name, value));
    }
  }
  append(element, children);
  return element;
}

function attribute(name, value) {
  if (name.startsWith('on')) throw new TypeError('listeners go into `on`');
  const text = value === true ? '' : String(value);
  // A link leads within the console or to its API, never where data says.
  if ((name === 'href' || name === 'src') && !/^(#|\.{1,2}\/|\/(?!\/))/.test(text)) throw new TypeError('no link out of the console');
  return text;
}

/** Adds children: nodes, texts, lists of them, nothing. */
export function append(element, children) {
  for (const child of [children].flat(Infinity)) {
    if (child === undefined || child === null || child === false) continue;
    element.append(child instanceof Node ? child : String(child));
  }
}

/** Puts children in the place of what is there. */
export function replace(element, ...children) {
  element.replaceChildren();
  append(element, children);
}

/** Tells people who listen to the page. */
export function announce(text) {
  document.getElementById('announcer').textContent = text;
}

/** A number that no other element has in its id. */
let last = 0;
export const unique = (stem) => `${stem}-${++last}`;

const ICONS = {
  overview: 'M3 12 12 4l9 8v8a1 1 0 0 1-1 1h-5v-6H9v6H4a1 1 0 0 1-1-1Z',
  catalogue: 'M5 4h6v5H5zM13 15h6v5h-6zM5 15h6v5H5zM8 9v6M8 12h8v3',
  functions: 'M8 5 3 12l5 7M16 5l5 7-5 7M13.500 4l-3 16',
  instances: 'M12 3 20 7v5c0 5-3.400 8-8 9-4.600-1-8-4-8-9V7ZM9 12l2 2 4-4',
  buckets: 'M4 7h16l-1.500 12a1.500 1.500 0 0 1-1.500 1.300H7A1.500 1.500 0 0 1 5.500 19ZM4 7c0-1.700 3.600-3 8-3s8 1.300 8 3',
  threats: 'M12 4 21.500 20h-19ZM12 10v4.500M12 17.300v.2',
  peers: 'M12 8a2.500 2.500 0 1 0 0-5 2.500 2.500 0 0 0 0 5ZM5 21a2.500 2.500 0 1 0 0-5 2.500 2.500 0 0 0 0 5ZM19 21a2.500 2.500 0 1 0 0-5 2.500 2.500 0 0 0 0 5ZM10.700 7.800 6.300 16M13.300 7.800l4.400 8.200M7.500 18.500h9',
  audit: 'M6 3h9l4 4v14H6ZM15 3v4h4M9 12h7M9 16h7',
  people: 'M9 11a3.500 3.500 0 1 0 0-7 3.500 3.500 0 0 0 0 7ZM2.500 20c.5-3.500 3-5.500 6.500-5.500s6 2 6.500 5.500M16 4.500a3.500 3.500 0 0 1 0 6.300M18 14.800c2 .7 3.200 2.500 3.500 5.200',
  decisions: 'M12 4v16M7 20h10M5 7l7-2 7 2M5 7l-3 7a3 3 0 0 0 6 0ZM19 7l-3 7a3 3 0 0 0 6 0Z',
  menu: 'M4 7h16M4 12h16M4 17h16',
  close: 'M6 6l12 12M18 6 6 18',
  copy: 'M9 9h11v11H9ZM5 15H4V4h11v1',
  file: 'M6 3h9l4 4v14H6ZM15 3v4h4',
  folder: 'M3 6h6l2 2h10v11H3Z',
  up: 'M12 20V5M6 11l6-6 6 6',
  down: 'M12 4v15M6 13l6 6 6-6',
  check: 'M5 12.500 10 17.500 19.500 7',
  cross: 'M6 6l12 12M18 6 6 18',
  sun: 'M12 16a4 4 0 1 0 0-8 4 4 0 0 0 0 8ZM12 2v2M12 20v2M2 12h2M20 12h2M5 5l1.400 1.400M17.600 17.600 19 19M5 19l1.400-1.400M17.600 6.400 19 5',
  moon: 'M20 14.500A8 8 0 0 1 9.500 4a8 8 0 1 0 10.500 10.500Z',
  auto: 'M12 3a9 9 0 1 0 0 18 9 9 0 0 0 0-18ZM12 3v18',
  search: 'M11 18a7 7 0 1 0 0-14 7 7 0 0 0 0 14ZM16 16l5 5',
  leave: 'M14 4h5v16h-5M10 8l-4 4 4 4M6 12h10',
  key: 'M8 18a4.500 4.500 0 1 0 0-9 4.500 4.500 0 0 0 0 9ZM11.200 10.300 20 3M16 6.200l3 3.800M13.500 8.200l2.200 2.800',
  plus: 'M12 5v14M5 12h14',
  trash: 'M4 7h16M9 7V4h6v3M6 7l1 14h10l1-14',
};

/** A drawing beside a text that says the same. */
export function icon(name) {
  return s('svg', { class: 'icon', viewBox: '0 0 24 24', 'aria-hidden': 'true', focusable: 'false' }, s('path', { d: ICONS[name] }));
}
