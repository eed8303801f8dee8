// Package pluginclient calls the plugin over its unix socket, as an engine does. It has
// the part of the protocol that tests need, and the plugin's own call that sets limits.
// Package mobyproxy uses docker's own proxy.
package pluginclient
