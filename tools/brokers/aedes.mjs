// The broker aedes on one port: node aedes.mjs FOLDER PORT [REDIS_PORT]. FOLDER has its packages. With a port of Redis, sessions and
// messages are stored there; otherwise in memory.
import { createServer } from 'node:net'
import { createRequire } from 'node:module'
import { pathToFileURL } from 'node:url'

const [folder, port, redis] = process.argv.slice(2)
const require = createRequire(`${folder}/package.json`)
const { Aedes } = await import(pathToFileURL(`${folder}/node_modules/aedes/aedes.js`).href)
const persistence = redis && require('aedes-persistence-redis')({ host: '127.0.0.1', port: Number(redis) })
const broker = await Aedes.createBroker(persistence ? { persistence } : {})
const server = createServer(broker.handle)
server.listen(Number(port), '127.0.0.1')
process.on('SIGTERM', () => broker.close(() => process.exit(0)))
