// Package manual writes the manual pages of a command. It links a Markdown renderer,
// which the ordinary binary does without: only a build with the tag man imports it.
package manual
