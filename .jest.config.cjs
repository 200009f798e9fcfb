// One project a kind of test, in the order in which `npm test` runs them (see .build/test.mjs).
const swc = ['@swc/jest', { module: { type: 'commonjs' }, jsc: { target: 'es2022', parser: { syntax: 'typescript' } } }]
module.exports = {
  rootDir: __dirname,
  testMatch: ['<rootDir>/test/**/*.test.ts'],
  transform: { '\\.[cm]?[jt]s$': swc },
  // ESM-only packages must be transformed for jest's CommonJS mode.
  transformIgnorePatterns: ['/node_modules/(?!(@bufbuild/protobuf|ipaddr\\.js|p-limit|yocto-queue)/)'],
  moduleNameMapper: { '^(\\.{1,2}/.*)\\.js$': '$1' },
  // A bound for what hangs, and no measure of anything: machines are shared.
  testTimeout: 60_000,
  modulePathIgnorePatterns: ['<rootDir>/dist/'],
}
