// Package dockerd talks to a running dockerd: its version and settings, and its managed
// plugins.
//
//	client.go    Client, Info
//	plugin.go    looks up, creates, enables, disables and upgrades a managed plugin
//	registry.go  serves a plugin's directory to dockerd, for an upgrade
//
// Package dockerstore reads what a stopped dockerd has recorded. Callers decide what to
// change.
package dockerd
