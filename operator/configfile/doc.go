// Package configfile replaces configuration files of other programs: atomically and durably,
// with mode and owner kept, behind a symbolic link, and never over a change that somebody made
// meanwhile. It knows no format.
package configfile
