// What makes a bundle start sooner: Node reads and parses all of it first, whatever it runs of it.

/**
 * zod brings its messages in fifty languages, a tenth of each bundle; English is configured apart from them.
 * @type {import('esbuild').Plugin}
 */
const oneLanguage = {
  name: 'one-language',
  setup(build) {
    build.onResolve({ filter: /\/locales\/index\.js$/ }, ({ importer, path }) =>
      importer.includes('/zod/') ? { path, namespace: 'one-language' } : undefined,
    )
    build.onLoad({ filter: /.*/, namespace: 'one-language' }, () => ({ contents: 'export {}' }))
  },
}

export const leanPlugins = [oneLanguage]

/** Names stay: they are in errors' stacks. */
export const lean = { minifyWhitespace: true, minifySyntax: true }
