// Package mobyproxy opens a graphdriver plugin at a socket through moby's own plugin proxy,
// as dockerd does, without a dockerd. Package pluginproc starts the plugin.
package mobyproxy
