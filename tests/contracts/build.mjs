// SPDX-License-Identifier: MIT OR Apache-2.0
//
// Compiles every .sol here into contracts.json, which is committed: only whoever changes a contract needs this.
// The compiler is wanted at that moment only, so it is no dependency of the tests. From the repository's root:
//
//     npm install --prefix /tmp/solc solc@0.8.37
//     SOLC=/tmp/solc/node_modules/solc node tests/contracts/build.mjs
//
// No metadata hash goes into the bytecode: the same sources and compiler give the same file, byte for byte.

import { readdirSync, readFileSync, writeFileSync } from 'node:fs'
import { createRequire } from 'node:module'
import { resolve } from 'node:path'

const wanted = '0.8.37'
const solc = createRequire(import.meta.url)(resolve(process.env.SOLC ?? 'node_modules/solc'))
if (!solc.version().startsWith(`${wanted}+`)) {
  console.error(`this is solc ${solc.version()}; contracts.json is made with ${wanted}`)
  process.exit(1)
}

const here = new URL('.', import.meta.url)
const files = readdirSync(here).filter((name) => name.endsWith('.sol')).sort()
const output = JSON.parse(
  solc.compile(
    JSON.stringify({
      language: 'Solidity',
      sources: Object.fromEntries(files.map((name) => [name, { content: readFileSync(new URL(name, here), 'utf8') }])),
      settings: {
        optimizer: { enabled: true, runs: 200 },
        evmVersion: 'shanghai',
        metadata: { bytecodeHash: 'none', appendCBOR: false },
        outputSelection: { '*': { '*': ['evm.bytecode.object', 'evm.methodIdentifiers'] } },
      },
    }),
  ),
)

let failed = false
for (const { severity, errorCode, formattedMessage } of output.errors ?? []) {
  if (errorCode === '5159') continue // selfdestruct is deprecated: that is why there is one
  console.error(formattedMessage)
  failed ||= severity === 'error'
}
if (failed) process.exit(1)

const found = {}
for (const contracts of Object.values(output.contracts)) {
  for (const [name, { evm }] of Object.entries(contracts)) {
    if (evm.bytecode.object === '') continue // abstract, or an interface
    found[name] = { 'abi-signatures': evm.methodIdentifiers, creation: `0x${evm.bytecode.object}` }
  }
}
const sorted = Object.fromEntries(Object.keys(found).sort().map((name) => [name, found[name]]))
writeFileSync(new URL('contracts.json', here), `${JSON.stringify(sorted, null, 2)}\n`)
console.log(`contracts.json: ${Object.keys(sorted).join(', ')}`)
