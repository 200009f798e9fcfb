// The import law: npx depcruise -c .dependency-cruiser.cjs proto agent controller cli
// swc reads type imports like others, so the arrows hold for types too.
const pure = '^(agent/plan|agent/tunnel|controller/plan|proto/model)/'
/** Files of types alone that pure folders may speak of. */
const types = '^(agent/kernel/(observed|step)|controller/config/fleet)\\.ts$'
const rule = (name, comment, from, to) => ({ name, severity: 'error', comment, from, to })
const npm = ['npm', 'npm-dev', 'npm-optional', 'npm-peer', 'npm-no-pkg', 'npm-unknown']

module.exports = {
  forbidden: [
    rule('no-circles', 'A circle has no order in which it could be read.', {}, { circular: true }),
    rule('found', 'What is imported must be there.', {}, { couldNotResolve: true }),
    rule(
      'proto-imports-nothing-of-ours',
      'proto/ is what two processes agree on.',
      { path: '^proto/' },
      { path: '^(agent|controller|cli|vagrant)/' },
    ),
    rule(
      'agent-imports-proto-alone',
      'The agent never sees the controller.',
      { path: '^agent/' },
      { path: '^(controller|cli|vagrant)/' },
    ),
    rule(
      'controller-imports-proto-alone',
      'The controller never sees the agent.',
      { path: '^controller/' },
      { path: '^(agent|cli|vagrant)/' },
    ),
    rule(
      'cli-imports-controller',
      'The command line speaks to agents through the controller.',
      { path: '^cli/' },
      { path: '^agent/' },
    ),
    rule(
      'product-without-tests',
      'Tests import the product, not the other way round.',
      { path: '^(proto|agent|controller|cli)/' },
      { path: '^test/' },
    ),
    rule('pure-without-core', 'Pure folders have no effects.', { path: [pure, types] }, { dependencyTypes: ['core'] }),
    rule('pure-without-packages', 'Pure folders need no packages.', { path: [pure, types] }, { dependencyTypes: npm }),
    rule(
      'pure-agent',
      'Plan and tunnel know the model, each other, and types.',
      { path: '^agent/(plan|tunnel)/' },
      { pathNot: ['^agent/(plan|tunnel)/', '^proto/model/', types] },
    ),
    rule(
      'pure-controller',
      'Planning knows the model, itself, and types.',
      { path: '^controller/plan/' },
      { pathNot: ['^controller/plan/', '^proto/model/', types] },
    ),
    rule('pure-model', 'The model knows itself alone.', { path: '^proto/model/' }, { pathNot: '^proto/model/' }),
    rule(
      'one-importer-of-ssh2',
      'controller/ssh hides it.',
      { pathNot: '^controller/ssh/' },
      { path: '(^|/)node_modules/(@types/)?ssh2/' },
    ),
    rule(
      'one-importer-of-netlink',
      'agent/kernel hides it.',
      { pathNot: '^agent/kernel/' },
      { path: '(^|/)node_modules/netlink/' },
    ),
  ],
  options: {
    // TypeScript 7 has no programming interface, which the other parser needs.
    parser: 'swc',
    tsPreCompilationDeps: true,
    doNotFollow: { path: ['node_modules', '^proto/gen/'] },
  },
}
