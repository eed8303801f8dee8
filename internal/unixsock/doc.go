// Package unixsock creates the unix sockets that the doors and the metrics listen on.
package unixsock
