"""The journal in Azure Table storage."""
