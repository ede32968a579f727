import assert from 'node:assert/strict';
import { spawn, type ChildProcess } from 'node:child_process';
import { once } from 'node:events';
import { mkdirSync, mkdtempSync, readdirSync, readFileSync, rmSync, statSync, writeFileSync } from 'node:fs';
import { tmpdir } from 'node:os';
import { join } from 'node:path';
import { describe, it, type TestContext } from 'node:test';
import type { Storage } from '../../../pipelines/component.ts';
import { DirectoryLock } from '../../../pipelines/extensions/directory-lock.ts';
import { describeError } from '../../../pipelines/errors.ts';
import { fileStorage } from '../../../pipelines/extensions/file-storage.ts';
import { makeSettings } from '../../helpers/component-settings.ts';

function makeDirectory(t: TestContext): string {
  const directory = mkdtempSync(join(tmpdir(), 'exit137-storage-'));
  t.after(() => rmSync(directory, { recursive: true, force: true }));
  return directory;
}

const none = AbortSignal.timeout(0);

/** As one run after the other has it: its directory is the next one's. */
async function start(config: Record<string, unknown>): Promise<Storage> {
  const extension = fileStorage.create(fileStorage.configSchema.parse(config), makeSettings());
  await extension.start();
  await extension.shutdown(none);
  return extension.storageOf!('receiver_container_lifecycle/a');
}

const bytes = (text: string) => Buffer.from(text);

describe('file_storage', () => {
  it('makes its directory for its owner alone', async (t) => {
    const directory = join(makeDirectory(t), 'a/b');
    await start({ directory });
    assert.equal(statSync(directory).mode & 0o777, 0o700);
  });

  it('does not start without a directory that it can use', async (t) => {
    const directory = makeDirectory(t);
    await assert.rejects(
      start({ directory: join(directory, 'none'), create_directory: false }),
      /cannot keep state in ".*none"/,
    );
    writeFileSync(join(directory, 'file'), '');
    await assert.rejects(start({ directory: join(directory, 'file') }), /cannot keep state in ".*file"/);
  });

  it('keeps each component’s content in a file of its own, and gives it to the next run', async (t) => {
    const directory = makeDirectory(t);
    const storage = await start({ directory });
    const file = storage.open('state');
    assert.equal(file.kept, undefined);
    await file.replace(bytes('one\n'));
    file.append(bytes('two\n'));
    assert.deepEqual(readdirSync(directory), ['lock', 'receiver_container_lifecycle%2Fa_state']);
    assert.equal(statSync(file.path).mode & 0o777, 0o600);
    assert.equal((await start({ directory })).open('state').kept?.toString(), 'one\ntwo\n');
    await file.replace(bytes('three\n'), true);
    await file.close();
    assert.equal((await start({ directory })).open('state').kept?.toString(), 'three\n');
  });

  it('has what is added while it replaces in the new content, and in the old until then', async (t) => {
    const file = (await start({ directory: makeDirectory(t) })).open('state');
    await file.replace(bytes('old\n'));
    const replaced = file.replace(bytes('new\n'));
    file.append(bytes('added\n'));
    assert.equal(readFileSync(file.path, 'utf8'), 'old\nadded\n');
    await replaced;
    assert.equal(readFileSync(file.path, 'utf8'), 'new\nadded\n');
    file.append(bytes('later\n'));
    assert.equal(readFileSync(file.path, 'utf8'), 'new\nadded\nlater\n');
    await file.close();
  });

  it('adds nothing to what an earlier run has left, which may end in the middle', async (t) => {
    const directory = makeDirectory(t);
    const storage = await start({ directory });
    const path = storage.open('state').path;
    writeFileSync(path, 'cut');
    const file = storage.open('state');
    assert.throws(() => file.append(bytes('x')), /cannot add to/);
    assert.equal(readFileSync(path, 'utf8'), 'cut');
  });

  it('says that it cannot write, and writes again when it can', async (t) => {
    const directory = makeDirectory(t);
    const file = (await start({ directory })).open('state');
    rmSync(directory, { recursive: true });
    await assert.rejects(file.replace(bytes('one\n')), /cannot write ".*_state"/);
    await start({ directory });
    await file.replace(bytes('two\n'));
    assert.equal(readFileSync(file.path, 'utf8'), 'two\n');
    await file.close();
  });

  it('sets an unusable file aside and keeps no more than three of them', async (t) => {
    const directory = makeDirectory(t);
    const storage = await start({ directory });
    const { path } = storage.open('state');
    for (let run = 0; run < 5; run++) {
      writeFileSync(path, `rubbish ${run}`);
      assert.match(storage.open('state').setAside(), /_state\.corrupt-\d{8}T\d{6}\.\d{3}Z$/);
      await new Promise((resolve) => setTimeout(resolve, 2));
    }
    const kept = readdirSync(directory)
      .filter((name) => name !== 'lock')
      .toSorted();
    assert.deepEqual(
      kept.map((name) => readFileSync(join(directory, name), 'utf8')),
      ['rubbish 2', 'rubbish 3', 'rubbish 4'],
    );
  });
});

describe('the directory of file_storage', () => {
  /** Another process that has it until it is killed. */
  async function startOther(t: TestContext, directory: string): Promise<ChildProcess> {
    const module = JSON.stringify(import.meta.resolve('../../../pipelines/extensions/directory-lock.ts'));
    const hold = `import { DirectoryLock } from ${module};
      globalThis.lock = await DirectoryLock.take(process.argv[1], 0, () => {});
      process.stdout.write('has it');
      setInterval(() => {}, 1000);`;
    const child = spawn(process.execPath, ['--input-type=module-typescript', '--eval', hold, directory], {
      stdio: ['ignore', 'pipe', 'inherit'],
    });
    t.after(() => child.kill('SIGKILL'));
    await once(child.stdout, 'data');
    return child;
  }

  function makeExtension(directory: string) {
    const settings = makeSettings();
    return { settings, extension: fileStorage.create({ directory, create_directory: true }, settings) };
  }

  it('is waited for while another process has it, and taken over as soon as that was killed', async (t) => {
    const directory = makeDirectory(t);
    const other = await startOther(t, directory);
    const { settings, extension } = makeExtension(directory);
    const started = extension.start();
    const { fields } = await settings.logged('waits for another process to end, which keeps its state here');
    assert.match(String(fields['owner']), new RegExp(`, pid ${other.pid}, since 20`));
    other.kill('SIGKILL');
    await started;
    assert.match(readFileSync(join(directory, 'lock.owner'), 'utf8'), new RegExp(`, pid ${process.pid}, since 20`));
    await extension.shutdown(none);
    assert.ok(!readdirSync(directory).includes('lock.owner'));
  });

  it('is refused where another process goes on having it, who is named', async (t) => {
    const directory = makeDirectory(t);
    await startOther(t, directory);
    await assert.rejects(
      DirectoryLock.take(directory, 100, () => {}),
      /^Error: it is in use by .+, pid \d+, since /,
    );
    // What is left of one that was killed keeps nobody out, and another instance in one process is another.
    const mine = makeDirectory(t);
    writeFileSync(join(mine, 'lock'), '');
    writeFileSync(join(mine, 'lock.owner'), 'exit137-x2k, pid 1, since 2026-11-21T12:00:00.000Z');
    const lock = await DirectoryLock.try(mine);
    assert.ok(lock !== undefined);
    assert.equal(await DirectoryLock.try(mine), undefined);
    lock.release();
  });

  it('is refused where it cannot be taken, with the file that is in the way', async (t) => {
    const directory = makeDirectory(t);
    mkdirSync(join(directory, 'lock'));
    const { extension } = makeExtension(directory);
    await assert.rejects(extension.start(), (error) => {
      assert.match(describeError(error), /cannot keep state in ".+": cannot lock ".+\/lock": .+/);
      return true;
    });
  });

  it('is found by the doctor, with who uses it', async (t) => {
    const directory = makeDirectory(t);
    const find = async (path: string) => (await fileStorage.probe!({ directory: path, create_directory: true }))[0]!;
    assert.deepEqual(await find(directory), { what: 'state directory', state: 'found', detail: directory });
    assert.deepEqual(readdirSync(directory), [], 'the doctor leaves nothing behind');
    assert.equal((await find(join(directory, 'none'))).detail, `${join(directory, 'none')}, to be made`);
    const { extension } = makeExtension(directory);
    await extension.start();
    assert.match((await find(directory)).detail, new RegExp(`in use by .*, pid ${process.pid}, since `));
    await extension.shutdown(none);
    writeFileSync(join(directory, 'file'), '');
    assert.equal((await find(join(directory, 'file'))).state, 'missing');
  });
});
