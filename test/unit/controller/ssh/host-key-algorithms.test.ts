import { hostKeyAlgorithms } from '../../../../controller/ssh/host-key-algorithms.js'

describe('hostKeyAlgorithms', () => {
  it('puts what is known first', () => {
    expect(hostKeyAlgorithms(['ecdsa-sha2-nistp256'], [])[0]).toBe('ecdsa-sha2-nistp256')
    expect(hostKeyAlgorithms(['ssh-rsa'], []).slice(0, 2)).toEqual(['rsa-sha2-512', 'rsa-sha2-256'])
  })

  it('offers all without knowledge, and SHA-1 never', () => {
    expect(hostKeyAlgorithms([], [])).toHaveLength(6)
    expect(hostKeyAlgorithms(['ssh-rsa'], ['ssh-rsa', 'rsa-sha2-256'])).toEqual(['rsa-sha2-256'])
  })
})
