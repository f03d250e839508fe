"""Explicit vector code in LLVM's terms."""
