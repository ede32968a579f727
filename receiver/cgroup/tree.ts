import { readdirSync, statSync, watch, type FSWatcher } from 'node:fs';
import { join } from 'node:path';
import { identifyCgroup, type CgroupIdentity } from './identity.ts';

/** One directory of the hierarchy: one cgroup. */
export interface CgroupNode {
  /** Below the hierarchy's root, with a leading slash; the root itself is `/`. */
  readonly path: string;
  /** As seen from here. */
  readonly dir: string;
  readonly name: string;
  /** Tells a group from its successor of the same name. */
  readonly inode: number;
  readonly parent?: CgroupNode;
  /** Whose group this is, where its own name tells. */
  readonly identity?: CgroupIdentity;
  /** The innermost container's group that it is or lies in. */
  readonly container?: CgroupNode;
  readonly children: Map<string, CgroupNode>;
  /** All that it held is known, so that a child found from now on was made since. */
  isComplete: boolean;
  watcher?: FSWatcher;
}

/** Told of groups as they come and go; parents come before and go after their children. */
export interface TreeListener {
  /** `fresh` is false for what was there before the first walk, or was left out or could not be listed at first. */
  added(node: CgroupNode, fresh: boolean): void;
  removed(node: CgroupNode): void;
  /** A group beyond the bound, or one that cannot be watched or listed. */
  problem(what: string, value: string): void;
}

/**
 * The cgroups of a hierarchy, kept up to date by watching every directory for children that are made and removed
 * (inotify reports both on v1 and v2). Each directory is watched before it is listed, so that nothing falls between.
 */
export class CgroupTree {
  readonly #root: string;
  readonly #maxGroups: number;
  readonly #listener: TreeListener;
  /** Directories without a watch (inotify's limits are reached), or that could not be listed: `rescan` lists them. */
  readonly #toRescan = new Set<CgroupNode>();
  /** Groups with children that were left out for want of room. */
  readonly #crowded = new Set<CgroupNode>();
  #rootNode: CgroupNode | undefined;
  #size = 0;

  constructor(root: string, maxGroups: number, listener: TreeListener) {
    this.#root = root;
    this.#maxGroups = maxGroups;
    this.#listener = listener;
  }

  get size(): number {
    return this.#size;
  }

  /** Walks the whole hierarchy. Throws when its root cannot be read. */
  open(): void {
    try {
      readdirSync(this.#root);
    } catch (error) {
      throw new Error(`cannot list the memory cgroups at "${this.#root}"`, { cause: error });
    }
    const inode = statSync(this.#root).ino;
    this.#rootNode = { path: '/', dir: this.#root, name: '', inode, children: new Map(), isComplete: false };
    this.#watch(this.#rootNode);
    this.#list(this.#rootNode);
  }

  /** A group's files say that it is gone: forgets it, and takes up its successor if there is one. */
  recheck({ parent, name }: CgroupNode): void {
    if (parent !== undefined) this.#recheckChild(parent, name);
  }

  /** Looks at the directories that could not be watched or listed, and where there is room now, for what was left out. */
  rescan(): void {
    for (const node of this.#toRescan) this.#list(node);
    for (const node of this.#crowded) {
      if (this.#size >= this.#maxGroups) return;
      this.#list(node);
    }
  }

  close(): void {
    if (this.#rootNode !== undefined) this.#forget(this.#rootNode);
    this.#rootNode = undefined;
  }

  #list(node: CgroupNode): void {
    let names: Set<string>;
    try {
      const entries = readdirSync(node.dir, { withFileTypes: true });
      names = new Set(entries.filter((entry) => entry.isDirectory()).map(({ name }) => name));
    } catch (error) {
      if (isGone(error)) return;
      this.#toRescan.add(node);
      this.#listener.problem('cannot list a cgroup', node.path);
      return;
    }
    if (node.watcher !== undefined) this.#toRescan.delete(node);
    for (const name of node.children.keys()) if (!names.has(name)) this.#recheckChild(node, name);
    const fresh = node.isComplete;
    const wasCrowded = this.#crowded.delete(node);
    node.isComplete = true;
    for (const name of names) this.#recheckChild(node, name, fresh, wasCrowded);
  }

  /** `isTold`: that there is no room for the group has been told. */
  #recheckChild(parent: CgroupNode, name: string, fresh = true, isTold = false): void {
    const known = parent.children.get(name);
    const inode = inodeOf(join(parent.dir, name));
    if (known !== undefined && known.inode === inode) return;
    if (known !== undefined) this.#remove(known);
    if (inode === undefined) return;
    if (this.#size < this.#maxGroups) this.#add(parent, name, inode, fresh || known !== undefined);
    else this.#leaveOut(parent, name, isTold);
  }

  #leaveOut(parent: CgroupNode, name: string, isTold: boolean): void {
    this.#crowded.add(parent);
    parent.isComplete = false;
    if (!isTold) this.#listener.problem('left out a cgroup beyond max_groups', join(parent.path, name));
  }

  #add(parent: CgroupNode, name: string, inode: number, fresh: boolean): void {
    const identity = identifyCgroup(name, parent.name);
    // crun makes a group of its own below the container's, and so do nested managers: these belong to the container.
    const ownsContainer = identity !== undefined && identity.containerId !== parent.container?.identity?.containerId;
    const node: CgroupNode = {
      path: join(parent.path, name),
      dir: join(parent.dir, name),
      name,
      inode,
      parent,
      identity: ownsContainer ? identity : undefined,
      get container() {
        return ownsContainer ? node : parent.container;
      },
      children: new Map(),
      // A group that was just made held nothing yet.
      isComplete: fresh,
    };
    parent.children.set(name, node);
    this.#size++;
    this.#watch(node);
    this.#listener.added(node, fresh);
    this.#list(node);
  }

  #remove(node: CgroupNode): void {
    for (const child of node.children.values()) this.#remove(child);
    this.#forget(node);
    node.parent?.children.delete(node.name);
    this.#size--;
    this.#listener.removed(node);
  }

  #watch(node: CgroupNode): void {
    try {
      node.watcher = watch(node.dir, { persistent: false }, (event, name) => {
        if (event !== 'rename') return;
        if (name === null) this.#list(node);
        else this.#recheckChild(node, name);
      });
      node.watcher.on('error', () => this.#loseWatch(node));
    } catch (error) {
      if (!isGone(error)) this.#loseWatch(node);
    }
  }

  #loseWatch(node: CgroupNode): void {
    node.watcher?.close();
    node.watcher = undefined;
    this.#toRescan.add(node);
    this.#listener.problem('cannot watch a cgroup, which is now listed again and again instead', node.path);
  }

  /** Closes the watches of a group and of those below it. */
  #forget(node: CgroupNode): void {
    node.watcher?.close();
    this.#toRescan.delete(node);
    this.#crowded.delete(node);
    for (const child of node.children.values()) this.#forget(child);
  }
}

function inodeOf(dir: string): number | undefined {
  try {
    const stats = statSync(dir);
    return stats.isDirectory() ? stats.ino : undefined;
  } catch {
    return undefined;
  }
}

function isGone(error: unknown): boolean {
  const { code } = error as NodeJS.ErrnoException;
  return code === 'ENOENT' || code === 'ENODEV';
}
