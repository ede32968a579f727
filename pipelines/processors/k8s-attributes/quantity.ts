/** Suffixes of a quantity, as powers; https://kubernetes.io/docs/reference/kubernetes-api/common-definitions/quantity/ */
const factors: Record<string, number> = {
  n: 1e-9,
  u: 1e-6,
  m: 1e-3,
  '': 1,
  k: 1e3,
  M: 1e6,
  G: 1e9,
  T: 1e12,
  P: 1e15,
  E: 1e18,
  Ki: 2 ** 10,
  Mi: 2 ** 20,
  Gi: 2 ** 30,
  Ti: 2 ** 40,
  Pi: 2 ** 50,
  Ei: 2 ** 60,
};

/** The number that a quantity of Kubernetes is: bytes of `128Mi` or `1e9`, cores of `250m`. Undefined where it is none. */
export function parseQuantity(text: unknown): number | undefined {
  if (typeof text !== 'string') return typeof text === 'number' ? text : undefined;
  const { number, exponent, suffix } =
    /^(?<number>[+-]?(?:\d+\.?\d*|\.\d+))(?:[eE](?<exponent>[+-]?\d+)|(?<suffix>[numkMGTPE]|[KMGTPE]i)?)$/.exec(text)
      ?.groups ?? {};
  if (number === undefined) return undefined;
  if (exponent !== undefined) return Number(`${number}e${exponent}`);
  // 100m is 0.1 and not 0.1 and a bit: a division by a whole number is exact where it can be.
  const factor = factors[suffix ?? '']!;
  return factor < 1 ? Number(number) / Math.round(1 / factor) : Number(number) * factor;
}
