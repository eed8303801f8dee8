// Package deb tests the Debian package in the lab's guest: dpkg installs it, a user's
// commands run, dpkg upgrades, removes and purges it.
package deb
