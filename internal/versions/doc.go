// Package versions parses and compares versions of Linux, OpenZFS and Docker.
package versions
