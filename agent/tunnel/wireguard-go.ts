import type { ProcessSpec } from '../plan/desired.js'

/**
 * WireGuard in userspace; makes the link `device` and lives as long as it. `-f` keeps it in the
 * foreground: the agent spawns it detached and must know its pid.
 */
export const wireguardGo = (device: string): ProcessSpec => ({
  name: `wireguard-${device}`,
  argv: ['wireguard-go', '-f', device],
  env: { LOG_LEVEL: 'error' },
  config: null,
})
