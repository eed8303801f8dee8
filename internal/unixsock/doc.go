// Package unixsock makes the sockets that the doors listen on. What is spoken on
// them is theirs.
package unixsock
