// Compiled parts that ssh2 does without: no bundle has them.
export const optionalAddons = ['cpu-features', '*/sshcrypto.node']
