// Package deb tests the Debian package in the lab's guest: installed with dpkg,
// used as a person would, upgraded, removed and purged.
package deb
