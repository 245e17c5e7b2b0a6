// The hand-off with drachtio-modesl on Node: one argument, the port to listen on.
'use strict';

const esl = require('drachtio-modesl');

const server = new esl.Server({ port: Number(process.argv[2]), host: '127.0.0.1', myevents: true });
server.on('connection::ready', (connection) => {
  connection.on('error', () => {});
  connection.sendRecv('linger', () => {
    const dialled = connection.getInfo().getHeader('Caller-Destination-Number');
    connection.execute('bridge', `sofia/gateway/carrier/${dialled}`);
  });
  connection.on('esl::event::CHANNEL_HANGUP_COMPLETE::*', () => connection.disconnect());
});
