// Package dockerconf reads dockerd's daemon.json: where layers and records are, and what
// is wrong with the file. It edits the content, too: everything unchanged stays byte by
// byte. Package configfile replaces the file.
//
//	dockerconf.go  reads the configuration
//	find.go        finds the file that the running dockerd reads
//	edit.go        changes keys in the content; finds the changes that restore old values
//
// Callers choose the keys to change; package dockerstore reads the data-root.
package dockerconf
