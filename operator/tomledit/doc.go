// Package tomledit changes single keys of a TOML file. Everything else stays byte by byte:
// comments, order and layout. Each change is decoded again and compared with what was wanted, so
// that content of an unusual form is refused, and not damaged.
package tomledit
