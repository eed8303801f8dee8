// Package dockerconf reads dockerd's daemon.json: where layers and records are, and what
// is wrong with the file. It edits the file, too: everything unchanged stays byte by
// byte, and the new file replaces the old one atomically.
//
//	dockerconf.go  reads the configuration
//	find.go        finds the file that the running dockerd reads
//	edit.go        changes keys in the content; finds the changes that restore old values
//	replace.go     replaces the file
//
// Callers choose the keys to change; package dockerstore reads the data-root.
package dockerconf
