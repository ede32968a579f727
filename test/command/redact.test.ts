import assert from 'node:assert/strict';
import { suite, test } from 'node:test';
import fc from 'fast-check';
import { redact } from '../../command/redact.ts';
import type { ConfigValue } from '../../pipelines/config-tree.ts';

const hidden = '[REDACTED]';

suite('a configuration that is shown', () => {
  for (const [what, value, shown] of [
    ['every header', { headers: { 'x-tenant': 'a', accept: 1 } }, { headers: { 'x-tenant': hidden, accept: hidden } }],
    ['a header in a list', { headers: [{ name: 'x', value: 'y' }] }, { headers: [{ name: hidden, value: hidden }] }],
    ['what is called a secret', { client_secret: 'a', api_key: 'b' }, { client_secret: hidden, api_key: hidden }],
    [
      'what stands below a secret',
      { credentials: { user: 'a', list: ['b'] } },
      { credentials: { user: hidden, list: [hidden] } },
    ],
    ['a number that is a secret', { password: 1234 }, { password: hidden }],
    ['a PEM text', { tls: { key_pem: '---', key_file: '/key' } }, { tls: { key_pem: hidden, key_file: '/key' } }],
    [
      'the query of a URL',
      { endpoint: 'https://host/p?api-key=a&b=c#d', logs_endpoint: 'http://host?x' },
      { endpoint: `https://host/p?${hidden}`, logs_endpoint: `http://host?${hidden}` },
    ],
    [
      'the user and the query of a URL, whatever the password has in it',
      { proxy_url: 'http://me:p@ss:w@host:1/?q=a@b' },
      { proxy_url: `http://${hidden}@host:1/?${hidden}` },
    ],
    ['the user before a host without a scheme', { endpoint: 'me:pw@host:4317' }, { endpoint: `${hidden}@host:4317` }],
    [
      'URLs in a longer text, and in lists',
      { text: ['see http://a:b@c and https://d?e f'] },
      { text: [`see http://${hidden}@c and https://d?${hidden} f`] },
    ],
    ['the user in a URL', { endpoint: 'https://me:pw@host:1/p' }, { endpoint: `https://${hidden}@host:1/p` }],
    [
      'the value of an attribute that is called a secret',
      { attributes: [{ key: 'api.token', value: 'a', action: 'insert' }] },
      { attributes: [{ key: 'api.token', value: hidden, action: 'insert' }] },
    ],
  ] as [string, ConfigValue, ConfigValue][]) {
    test(`hides ${what}`, () => assert.deepEqual(redact(value), shown));
  }

  for (const value of [
    { endpoint: 'http://host:4317', timeout: 5, insecure: true, tls: null },
    { attributes: [{ key: 'team', value: 'core', action: 'insert' }] },
    { endpoint: 'host:4317', path: 'a@b' },
    { endpoint: 'unix:///run/a.sock', help: 'what? a@b: yes#1' },
    { headers: {} },
    { password: null },
  ] as ConfigValue[]) {
    test(`shows ${JSON.stringify(value)} as it is`, () => assert.deepEqual(redact(value), value));
  }

  test('has no secret, however deep it stands', () => {
    const secret = 'hunter2';
    const path = fc.array(fc.constantFrom('a', 'b', 'headers'), { maxLength: 5 });
    fc.assert(
      fc.property(path, fc.constantFrom('password', 'auth_token', 'Authorization', 'cookie'), (above, key) => {
        const value = above.reduceRight<ConfigValue>((below, name) => ({ [name]: [below] }), {
          [key]: { x: [secret] },
        });
        assert.doesNotMatch(JSON.stringify(redact(value)), /hunter2/);
      }),
    );
  });
});
