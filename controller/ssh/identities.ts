/**
 * Which keys are offered to a host, in OpenSSH's order: the agent's keys that the configuration names,
 * the agent's other keys (not with IdentitiesOnly), then key files; encrypted files last, since each
 * of them costs a question. Passwords are never sent to log in.
 */
import { readFile } from 'node:fs/promises'
import {
  type AnyAuthMethod,
  type AuthHandlerMiddleware,
  BaseAgent,
  createAgent,
  type IdentityCallback,
  type ParsedKey,
  type SignCallback,
  type SigningRequestOptions,
  utils,
} from 'ssh2'
import type { AskSecret } from './ask-secret.js'
import { fingerprint } from './known-hosts.js'
import type { ResolvedTarget } from './resolve-target.js'

interface KeyFile {
  path: string
  /** Undefined for an encrypted key that has no .pub file beside it. */
  publicKey: Buffer | undefined
  /** Undefined where only the public half is there: the agent holds the rest. */
  privateKey: { text: string; encrypted: boolean } | undefined
}

export interface LoginLog {
  /** What was offered, in words: `agent key SHA256:… (comment)`. */
  offered: string[]
  /** What could not be offered, and why. */
  passedOver: string[]
  /** Methods that the server accepts, as it said. */
  accepted: string[]
}

export interface Login {
  log: LoginLog
  handler: AuthHandlerMiddleware
}

const passphraseTries = 3

/**
 * Prepares one login. A passphrase is asked for only when an encrypted key's turn has come.
 *
 * @param pauseTimer runs what waits for a person, so that no timeout counts it.
 */
export const prepareLogin = async (
  target: ResolvedTarget,
  askSecret: AskSecret | undefined,
  pauseTimer: <T>(work: () => Promise<T>) => Promise<T>,
): Promise<Login> => {
  const log: LoginLog = { offered: [], passedOver: [], accepted: [] }
  const files: KeyFile[] = []
  for (const path of target.identityFiles) {
    const file = await readKeyFile(path, log)
    if (file !== undefined) files.push(file)
  }
  const agent = target.agentSocket === undefined ? undefined : new ConfiguredAgent(target, files, log)
  const attempts = attemptsFor(target.user, agent, files, log, askSecret, pauseTimer)
  return {
    log,
    handler: (methodsLeft, _partial, next) => {
      if (Array.isArray(methodsLeft)) log.accepted = methodsLeft
      attempts.next().then(
        ({ value, done }) => next(done ? (false as never) : value),
        (error) => {
          log.passedOver.push(String((error as Error).message))
          next(false as never)
        },
      )
    },
  }
}

async function* attemptsFor(
  username: string,
  agent: ConfiguredAgent | undefined,
  files: KeyFile[],
  log: LoginLog,
  askSecret: AskSecret | undefined,
  pauseTimer: <T>(work: () => Promise<T>) => Promise<T>,
): AsyncGenerator<AnyAuthMethod> {
  // As ssh does: the refusal lists the methods that the server accepts, which an error then can name.
  yield { type: 'none', username }
  if (agent !== undefined) yield { type: 'agent', username, agent }
  const left = files.filter(
    (file) => file.privateKey !== undefined && !(file.publicKey !== undefined && agent?.has(file.publicKey)),
  )
  const inOrder = [
    ...left.filter((file) => !file.privateKey?.encrypted),
    ...left.filter((file) => file.privateKey?.encrypted),
  ]
  for (const { path, privateKey } of inOrder) {
    if (privateKey === undefined) continue
    const passphrase = privateKey.encrypted
      ? await pauseTimer(() => askPassphrase(path, privateKey.text, askSecret, log))
      : ''
    if (passphrase === undefined) continue
    log.offered.push(`key file ${path}`)
    yield { type: 'publickey', username, key: privateKey.text, ...(passphrase === '' ? {} : { passphrase }) }
  }
}

const askPassphrase = async (
  path: string,
  text: string,
  askSecret: AskSecret | undefined,
  log: LoginLog,
): Promise<string | undefined> => {
  if (askSecret === undefined) {
    log.passedOver.push(`${path} is encrypted and there is no terminal to ask for its passphrase`)
    return undefined
  }
  for (let attempt = 0; attempt < passphraseTries; attempt++) {
    const passphrase = await askSecret(`Passphrase for ${path}: `)
    if (passphrase === '') break
    if (!(utils.parseKey(text, passphrase) instanceof Error)) return passphrase
  }
  log.passedOver.push(`${path}: the passphrase is wrong`)
  return undefined
}

const readKeyFile = async (path: string, log: LoginLog): Promise<KeyFile | undefined> => {
  const text = await readText(path, log)
  // IdentityFile may name the public half alone, to choose one of the agent's keys.
  const publicText = await readText(path.endsWith('.pub') ? path : `${path}.pub`, log)
  const sidecar = publicText === undefined ? undefined : publicKeyOf(publicText)
  if (text === undefined) return sidecar === undefined ? undefined : { path, publicKey: sidecar, privateKey: undefined }
  const parsed = utils.parseKey(text)
  if (parsed instanceof Error) {
    const encrypted = /encrypted/i.test(parsed.message)
    if (!encrypted) log.passedOver.push(`${path} can't be read as a private key: ${parsed.message}`)
    return { path, publicKey: sidecar, privateKey: encrypted ? { text, encrypted } : undefined }
  }
  const publicKey = parsed.getPublicSSH()
  return { path, publicKey, privateKey: parsed.isPrivateKey() ? { text, encrypted: false } : undefined }
}

const publicKeyOf = (text: string): Buffer | undefined => {
  const parsed = utils.parseKey(text)
  return parsed instanceof Error ? undefined : parsed.getPublicSSH()
}

const readText = async (path: string, log: LoginLog): Promise<string | undefined> => {
  try {
    return await readFile(path, 'utf8')
  } catch (error) {
    const code = (error as NodeJS.ErrnoException).code
    if (code !== 'ENOENT' && code !== 'ENOTDIR') log.passedOver.push(`${path}: ${(error as Error).message}`)
    return undefined
  }
}

type AgentKey = string | Buffer | ParsedKey

/** The user's agent, with its keys in the order and selection that the configuration asks for. */
class ConfiguredAgent extends BaseAgent {
  private readonly agent: BaseAgent
  private readonly held: Buffer[] = []

  constructor(
    private readonly target: ResolvedTarget,
    private readonly files: KeyFile[],
    private readonly log: LoginLog,
  ) {
    super()
    this.agent = createAgent(target.agentSocket ?? '')
  }

  has(key: Buffer): boolean {
    return this.held.some((held) => held.equals(key))
  }

  override getIdentities(callback: IdentityCallback<AgentKey>): void {
    this.agent.getIdentities((error, keys) => {
      // An agent that doesn't answer is no reason to leave the key files untried.
      if (error) this.log.passedOver.push(`agent ${this.target.agentSocket}: ${error.message}`)
      const parsed = (keys ?? []).map((key) => parsePublic(key)).filter((key) => key !== undefined)
      const configured = this.files.flatMap((file) => {
        const match = parsed.find((key) => file.publicKey?.equals(key.getPublicSSH()))
        return match === undefined ? [] : [match]
      })
      const others = this.target.identitiesOnly ? [] : parsed.filter((key) => !configured.includes(key))
      const offered = [...configured, ...others]
      this.held.push(...offered.map((key) => key.getPublicSSH()))
      for (const key of offered)
        this.log.offered.push(`agent key ${fingerprint(key.getPublicSSH())}${key.comment ? ` (${key.comment})` : ''}`)
      callback(null, offered)
    })
  }

  override sign(key: AgentKey, data: Buffer, options: SigningRequestOptions | SignCallback, done?: SignCallback): void {
    if (typeof options === 'function') this.agent.sign(key, data, options)
    else this.agent.sign(key, data, options, done)
  }
}

const parsePublic = (key: AgentKey | { pubKey: unknown }): ParsedKey | undefined => {
  if (typeof key === 'object' && 'getPublicSSH' in key) return key
  const parsed = utils.parseKey(key as Buffer)
  return parsed instanceof Error ? undefined : parsed
}
