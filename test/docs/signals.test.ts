import assert from 'node:assert/strict';
import { readFileSync } from 'node:fs';
import { it } from 'node:test';
import { formatSignals } from '../../docs/generate-signals.ts';

it('docs/signals.md says what receiver/metadata.ts says; `npm run docs` writes it', async () => {
  const page = new URL('../../docs/signals.md', import.meta.url);
  assert.equal(readFileSync(page, 'utf8'), await formatSignals());
});
